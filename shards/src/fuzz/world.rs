//! One shard and a few clients, every byte of which the fuzz target chooses.

use crate::config::Config;
use crate::sim::client::{Client, Wish};
use crate::sim::run::Shards;

/// Small limits, so that small inputs reach them.
pub(super) const MESSAGE_BYTES: usize = 512;
pub(super) const HEAD_BYTES: usize = 1024;
pub(super) const NAME_BYTES: usize = 16;
pub(super) const READ_BYTES: usize = 4096;

pub(super) fn config() -> Config {
    let mut config = Config::with_cores(vec![0]);
    config.message_bytes = MESSAGE_BYTES;
    config.head_bytes = HEAD_BYTES;
    config.name_bytes = NAME_BYTES;
    config.read_buffer_bytes = READ_BYTES;
    config
}

pub(super) struct World {
    pub(super) shards: Shards,
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        Self { shards: Shards::new(1, config, 1) }
    }

    /// A connection that says nothing by itself.
    pub(super) fn silent(&mut self) -> Client {
        let (stream, client) = Client::silent(Wish::default(), usize::MAX);
        self.shards.accept(0, stream);
        self.rest();
        client
    }

    /// A client, open and at rest.
    pub(super) fn client(&mut self, wish: Wish) -> Client {
        let (stream, client) = Client::connect(wish, usize::MAX);
        self.shards.accept(0, stream);
        self.rest();
        assert!(client.stayed());
        client
    }

    /// The client says this in these pieces, each in a read of its own, `between` behind each.
    pub(super) fn say(&mut self, client: &Client, pieces: &[&[u8]], between: impl Fn()) {
        for piece in pieces {
            client.send(piece);
            // A piece longer than the buffer takes several reads.
            for _ in 0..=piece.len() / READ_BYTES {
                self.shards.turn(0);
            }
            between();
            self.check_bounds();
        }
        self.rest();
    }

    pub(super) fn rest(&mut self) {
        self.shards.come_to_rest(|| {});
    }

    /// Checks that the shard holds no more for its clients than the configured bounds allow.
    fn check_bounds(&self) {
        let shard = &self.shards.all[0];
        for (_, client) in shard.clients.roster.iter() {
            let head = client.brief_ref().map_or(0, |brief| brief.head.len());
            assert!(head <= HEAD_BYTES + READ_BYTES, "{head} bytes of a head");
            let rest = client.machine.as_ref().map_or(0, |machine| machine.rest.len());
            assert!(rest <= READ_BYTES, "{rest} bytes unread");
            let queued = client.outbox.as_ref().map_or(0, |outbox| outbox.bytes());
            assert!(
                queued <= shard.clients.config.outbox_bytes + READ_BYTES,
                "{queued} bytes queued"
            );
        }
    }
}
