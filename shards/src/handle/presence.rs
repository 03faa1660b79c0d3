//! Calls that ask who is in a channel.

use std::sync::Arc;

use super::Handle;
use crate::error::Untaken;
use crate::mesh::parcel::{Ask, Asker};
use crate::mesh::reply::Answers;
use crate::model::channel::NoChannel;
use crate::model::presence::{Here, Question};

impl Handle {
    /// Asks for the members of a channel: at most `count` of each shard, with at most so many bytes
    /// of names and infos. Each shard answers for itself.
    ///
    /// # Errors
    /// A bad name, or a full lane.
    pub fn presence(
        &self,
        channel: &str,
        (count, bytes): (usize, usize),
    ) -> Result<Answers<Result<Here, NoChannel>>, Untaken> {
        self.who(channel, Question::Members { count, bytes })
    }

    /// Asks how many clients and users are in a channel. Each shard answers for itself.
    ///
    /// # Errors
    /// A bad name, or a full lane.
    pub fn presence_stats(
        &self,
        channel: &str,
    ) -> Result<Answers<Result<Here, NoChannel>>, Untaken> {
        self.who(channel, Question::Numbers { distinct: self.limits.users_repeat })
    }

    fn who(
        &self,
        channel: &str,
        question: Question,
    ) -> Result<Answers<Result<Here, NoChannel>>, Untaken> {
        let channel = self.limits.channel(channel)?;
        let (reply, answers) = Answers::expect(self.mesh.shards());
        for shard in self.shards() {
            let asker = Asker::Bridge(reply.clone());
            self.ask(shard, Ask::Who { channel: Arc::clone(&channel), question, asker })?;
        }
        Ok(answers)
    }
}
