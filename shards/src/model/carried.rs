//! A publication as an engine carries it from node to node.
//!
//! ```text
//! body = form u8, node u64, publication (told.rs)
//! ```

use std::sync::Arc;

use bytes::Bytes;

use super::codec::Reader;
use super::message::Publication;
use super::snapshot::Damaged;
use super::told::{make_foreign, put_whole, whole};

const FORM: u8 = 1;

/// Writes a publication of a client or of the API of `node`.
pub(crate) fn write(node: u64, publication: &Publication) -> Bytes {
    let mut out = Vec::with_capacity(64 + publication.channel.len() + publication.bytes());
    out.push(FORM);
    out.extend_from_slice(&node.to_le_bytes());
    put_whole(&mut out, publication);
    out.into()
}

/// Reads a publication of `channel` on `node`. The author is marked if it is another node's client,
/// as a client here may have its id.
///
/// # Errors
/// The bytes are no publication, or one of another channel.
pub(crate) fn read(
    body: &[u8],
    node: u64,
    channel: &Arc<str>,
) -> Result<Arc<Publication>, Damaged> {
    let mut rest = Reader { bytes: body, at: 0 };
    let [form] = rest.array()?;
    if form != FORM {
        return Err(rest.fault("a publication of another form"));
    }
    let author_node = rest.u64()?;
    let mut publication = whole(&mut rest)?;
    if !rest.is_at_end() {
        return Err(rest.fault("a publication is longer than its contents"));
    }
    if publication.channel != *channel {
        return Err(rest.fault("a publication of another channel"));
    }
    let own = Arc::make_mut(&mut publication);
    own.channel = Arc::clone(channel);
    if author_node != node {
        make_foreign(own);
    }
    Ok(publication)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::id::{ClientId, ShardId, Slot};
    use crate::model::message::{From, Payload};

    fn publication(text: &str) -> Publication {
        let client = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };
        Publication {
            channel: "room".into(),
            offset: 0,
            time_ms: 8,
            ingress_ns: 0,
            from: Some(From { client, user: Some("ann".into()) }),
            details: None,
            payload: Payload::Text(text.into()),
        }
    }

    #[test]
    fn an_author_on_another_node_is_no_client_here() {
        let sent = publication("hi");
        let author = |read: &Publication| read.from.as_ref().unwrap().client;
        let body = write(7, &sent);
        let read_at = |node| read(&body, node, &"room".into()).unwrap();
        assert_eq!(author(&read_at(7)), author(&sent));
        assert_ne!(author(&read_at(8)), author(&sent));
        assert_eq!(read_at(8).time_ms, 8);
        assert!(read(&body, 7, &"other".into()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            cut in 0_usize..80
        ) {
            let _ = read(&bytes, 1, &"room".into());
            let body = write(1, &publication("hello"));
            let cut = cut.min(body.len() - 1);
            prop_assert!(read(&body[..cut], 1, &"room".into()).is_err());
        }
    }
}
