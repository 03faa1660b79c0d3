//! Clients that the API puts into channels and takes out of them, while everything else goes on.

use super::run::Shards;
use crate::mesh::parcel::{Deliver, Dismiss, Enlist};
use crate::mesh::reply::Answers;
use crate::model::channel::NoChannel;
use crate::model::id::ClientId;
use crate::model::past::Since;
use crate::model::seating::{Placement, Seatings};

fn now<T: Unpin>(mut answers: Answers<T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut answers).poll(&mut context) {
        std::task::Poll::Ready(mut answers) => answers.pop().unwrap(),
        std::task::Poll::Pending => panic!("a shard answers at once"),
    }
}

/// Puts a client into a channel, or asks how far it is.
pub(crate) fn enlist(
    shards: &mut Shards,
    client: ClientId,
    channel: &str,
    since: Option<Since>,
    asks_only: bool,
) -> Seatings {
    let (reply, answers) = Answers::expect(1);
    let (clients, channel) = (vec![client], channel.into());
    let placement = Placement { since, ..Placement::default() };
    let order = Enlist { clients, channel, placement, asks_only, reply };
    let shard = &mut shards.all[client.shard.index()];
    shard.take_deliver(Deliver::Enlist(Box::new(order)));
    shard.settle();
    now(answers)
}

/// Takes a client out of a channel.
pub(crate) fn dismiss(
    shards: &mut Shards,
    client: ClientId,
    channel: &str,
) -> Result<u64, NoChannel> {
    let (reply, answers) = Answers::expect(1);
    let order = Dismiss { clients: vec![client], channel: channel.into(), reply };
    let shard = &mut shards.all[client.shard.index()];
    shard.take_deliver(Deliver::Dismiss(Box::new(order)));
    shard.settle();
    now(answers)
}
