//! The parts of a server that pass to another process: its histories and its revocations.

use super::Handle;
use crate::error::Untaken;
use crate::mesh::link::{FollowerEnd, Link, Sizes};
use crate::mesh::parcel::{Deliver, Instruction};
use crate::mesh::reply::{Answers, Reply};
use crate::model::id::ShardId;
use crate::model::message::Epoch;
use crate::model::revoked::Revocation;
use crate::model::snapshot::Saved;

impl Handle {
    /// Asks a shard to save its histories from a place on: zero, and then what the answer says.
    /// `all`: also the channels that keep none.
    ///
    /// # Errors
    /// There is no such shard, or its lane is full.
    pub fn save(&self, shard: usize, place: usize, all: bool) -> Result<Answers<Saved>, Untaken> {
        let shard = self.shards().nth(shard).ok_or(Untaken::BadName)?;
        let (reply, answers) = Answers::expect(1);
        let order = Deliver::Instruction(Instruction::Save { place, all, reply });
        self.mesh.deliver(shard, order).map_err(|_| Untaken::Busy)?;
        Ok(answers)
    }

    /// Asks every shard for what it knows beside its histories: facts as bytes.
    ///
    /// # Errors
    /// A full lane.
    pub fn facts(&self) -> Result<Answers<Vec<u8>>, Untaken> {
        self.order_all(Instruction::Facts)
    }

    /// Asks for some of the revocations in force, behind one of them or from the first on. An
    /// empty answer: there are no more.
    ///
    /// # Errors
    /// A full lane.
    pub fn revocations(
        &self,
        behind: Option<Revocation>,
    ) -> Result<Answers<Vec<Revocation>>, Untaken> {
        // All shards know the same ones.
        let (reply, answers) = Answers::expect(1);
        let order = Deliver::Instruction(Instruction::Revocations { behind, reply });
        self.mesh.deliver(ShardId::at(0), order).map_err(|_| Untaken::Busy)?;
        Ok(answers)
    }

    /// Prepares that another process numbers the publications of this one, until the link ends. Its
    /// first `epoch` is that of channels which are met for the first time.
    pub fn follow(&self, epoch: Epoch) -> Following {
        let (link, ends) = Link::follower(&self.mesh, Sizes::USUAL);
        let ends = self.shards().zip(ends).collect();
        let (reply, answers) = Answers::expect(self.mesh.shards());
        Following { handle: self.clone(), epoch, link, ends, reply, answers: Some(answers) }
    }
}

/// The shards on their way to follow another process.
#[derive(Debug)]
pub struct Following {
    handle: Handle,
    epoch: Epoch,
    /// Without it the shards that were told number their publications again, in other epochs.
    pub link: Link,
    ends: Vec<(ShardId, FollowerEnd)>,
    reply: Reply<()>,
    answers: Option<Answers<()>>,
}

impl Following {
    /// Tells the shards that have not been told yet. Every shard answers when it numbers nothing
    /// any more.
    ///
    /// # Errors
    /// A full lane. Call it again.
    pub fn tell(&mut self) -> Result<Answers<()>, Untaken> {
        while let Some((shard, end)) = self.ends.pop() {
            let (epoch, reply) = (self.epoch, self.reply.clone());
            let order = Deliver::Instruction(Instruction::Follow { end, epoch, reply });
            if let Err(order) = self.handle.mesh.deliver(shard, order) {
                if let Deliver::Instruction(Instruction::Follow { end, .. }) = order {
                    self.ends.push((shard, end));
                }
                return Err(Untaken::Busy);
            }
        }
        self.answers.take().ok_or(Untaken::Busy)
    }
}
