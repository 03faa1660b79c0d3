//! Sessions: the names by which requests of their own speak for clients of streams.
//!
//! A name is the client's id and a code over it by a key that only this process has. So nobody can
//! make one up, any shard knows a good one without asking, and no client costs memory for it.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac::{self, HMAC_SHA256, Key};
use ring::rand::SystemRandom;

use crate::model::id::ClientId;

/// The key of a process, and the name of the process for its clients.
pub(crate) struct Sessions {
    key: Key,
    node: Box<str>,
    /// The number of the process in the socket ids of its clients.
    run: u64,
}

impl Sessions {
    /// Returns the name of a client.
    pub(crate) fn name(&self, client: ClientId) -> String {
        let id = client.to_string();
        let code = hmac::sign(&self.key, id.as_bytes());
        format!("{id}.{}", BASE64URL_NOPAD.encode(code.as_ref()))
    }

    /// Returns the client of a name; `None` if nobody was given this name.
    pub(crate) fn client(&self, name: &str) -> Option<ClientId> {
        let (id, code) = name.split_once('.')?;
        let code = BASE64URL_NOPAD.decode(code.as_bytes()).ok()?;
        hmac::verify(&self.key, id.as_bytes(), &code).ok()?;
        id.parse().ok()
    }

    /// The number of the process in the socket ids of its clients: drawn at random, so that no
    /// later process gives the same ids out.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// The name of the process.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }
}

impl Default for Sessions {
    /// Sessions under a fresh key.
    fn default() -> Self {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        let key = key.expect("a kernel with io_uring has random numbers");
        let node = BASE64URL_NOPAD.encode(&hmac::sign(&key, b"node").as_ref()[..12]);
        let run = hmac::sign(&key, b"run");
        let run = run.as_ref().first_chunk().copied().map(u64::from_le_bytes);
        Self { key, node: node.into(), run: run.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ShardId, Slot};

    #[test]
    fn only_the_process_that_gave_a_name_knows_it() {
        let client = ClientId { generation: 7, slot: Slot(31), shard: ShardId(2) };
        let (sessions, others) = (Sessions::default(), Sessions::default());
        let name = sessions.name(client);
        assert_eq!(sessions.client(&name), Some(client));
        assert_eq!(others.client(&name), None);
        assert_ne!(sessions.node(), others.node());
        assert_ne!(sessions.run(), others.run());
        let code = name.strip_prefix("2-31-7").unwrap();
        for wrong in [
            "",
            ".",
            "2-31-7",
            &format!("2-31-8{code}"),
            &format!("{name}A"),
            &name[..name.len() - 1],
        ] {
            assert_eq!(sessions.client(wrong), None, "{wrong}");
        }
    }
}
