//! The parts of a server that pass to another process: its histories and its revocations.

use super::Handle;
use crate::error::Untaken;
use crate::mesh::parcel::{Deliver, Instruction};
use crate::mesh::reply::Answers;
use crate::model::id::ShardId;
use crate::model::revoked::Revocation;
use crate::model::snapshot::Saved;

impl Handle {
    /// Asks a shard to save its histories from a place on: zero, and then what the answer says.
    ///
    /// # Errors
    /// There is no such shard, or its lane is full.
    pub fn save(&self, shard: usize, place: usize) -> Result<Answers<Saved>, Untaken> {
        let shard = self.shards().nth(shard).ok_or(Untaken::BadName)?;
        let (reply, answers) = Answers::expect(1);
        let order = Deliver::Instruction(Instruction::Save { place, reply });
        self.mesh.deliver(shard, order).map_err(|_| Untaken::Busy)?;
        Ok(answers)
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
}
