//! Settings that may change while the shards run.

use std::sync::Arc;

use rustls::ServerConfig;

use super::Handle;
use crate::error::Untaken;
use crate::mesh::parcel::Instruction;
use crate::mesh::reply::Answers;
use crate::rules::Rules;

impl Handle {
    /// Puts other rules of channels in force on every shard, which answers when they are.
    ///
    /// # Errors
    /// A full lane: some shards may have got them. Call it again.
    pub fn set_rules(&self, rules: &Arc<Rules>) -> Result<Answers<()>, Untaken> {
        self.limits.follow(rules);
        self.order_all(|reply| Instruction::Rules { rules: Arc::clone(rules), reply })
    }

    /// Has later handshakes of TLS done with other settings on every shard, which answers when that
    /// is so. Nobody is cut.
    ///
    /// # Errors
    /// A full lane: some shards may have got them. Call it again.
    pub fn set_tls(&self, config: &Arc<ServerConfig>) -> Result<Answers<()>, Untaken> {
        self.order_all(|reply| Instruction::Tls { config: Arc::clone(config), reply })
    }
}
