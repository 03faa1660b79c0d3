//! The names that an engine knows: subjects of channels, buckets of subjects, and streams.

use std::fmt::Write;
use std::sync::Arc;

use stentor_shards::Epoch;

/// A node subscribes to buckets, not to channels: so it has this number of subscriptions at most,
/// whatever the number of its channels.
pub(crate) const BUCKETS: u32 = 1024;

/// The subjects of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The name of the cluster, of letters, digits, `_` and `-`.
    cluster: Arc<str>,
}

impl Names {
    pub(crate) fn new(cluster: &str) -> Self {
        Self { cluster: cluster.into() }
    }

    /// The subjects that publications are sent to, for all channels of the cluster.
    pub(crate) fn all_stored(&self) -> String {
        format!("st.{}.h.>", self.cluster)
    }

    /// The subjects that the engine sends them on to.
    pub(crate) fn all_live(&self) -> String {
        format!("st.{}.l.>", self.cluster)
    }

    /// The subject that publications of one channel are sent to.
    pub(crate) fn stored(&self, key: &str) -> String {
        format!("st.{}.h.{key}", self.cluster)
    }

    /// The live publications of one bucket.
    pub(crate) fn bucket(&self, bucket: u32) -> String {
        format!("st.{}.l.{bucket}.*", self.cluster)
    }

    /// The subject of heartbeats.
    pub(crate) fn beats(&self) -> String {
        format!("st.{}.n", self.cluster)
    }

    /// The subject at which one node is spoken to.
    pub(crate) fn words(&self, node: &str) -> String {
        format!("st.{}.n.{node}", self.cluster)
    }

    /// Returns the key of a live subject, by which its channel is known.
    pub(crate) fn key_of_live<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix("st.")?.strip_prefix(&*self.cluster)?.strip_prefix(".l.")
    }

    /// Returns the name of a new stream, in which its numbering stands.
    pub(crate) fn stream(&self, epoch: Epoch) -> String {
        format!("stentor_{}_{epoch}", self.cluster)
    }

    /// Returns the numbering of a stream; `None` for a stream that is no cluster's.
    pub(crate) fn epoch_of(&self, stream: &str) -> Option<Epoch> {
        let rest = stream.strip_prefix("stentor_")?.strip_prefix(&*self.cluster)?;
        rest.strip_prefix('_')?.parse().ok()
    }
}

/// Returns the bucket of a channel, the same on every node.
pub(crate) fn bucket_of(channel: &str) -> u32 {
    crc32fast::hash(channel.as_bytes()) % BUCKETS
}

/// Returns the part of a channel's subjects that is its own: its bucket and its name, in which all
/// bytes but letters, digits, `_` and `-` are written as `=` and two digits.
pub(crate) fn key_of(channel: &str) -> String {
    let mut key = format!("{}.", bucket_of(channel));
    for byte in channel.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            key.push(char::from(byte));
        } else {
            let _ = write!(key, "={byte:02X}");
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_tokens_and_no_two_channels_share_one() {
        assert_eq!(key_of("a.b*c >é=").split_once('.').unwrap().1, "a=2Eb=2Ac=20=3E=C3=A9=3D");
        assert_eq!(key_of("room").split('.').count(), 2);
        assert_ne!(key_of("a=2E"), key_of("a."));
        assert!(bucket_of("room") < BUCKETS);
    }

    #[test]
    fn names_of_another_cluster_are_not_ours() {
        let names = Names::new("blue");
        let epoch: Epoch = "0000beef".parse().unwrap();
        assert_eq!(names.epoch_of(&names.stream(epoch)), Some(epoch));
        for other in ["stentor_green_0000beef", "stentor_blue_beef", "ORDERS", "stentor_blue_"] {
            assert_eq!(names.epoch_of(other), None, "{other}");
        }
        assert_eq!(names.key_of_live("st.blue.l.7.room"), Some("7.room"));
        assert_eq!(names.key_of_live("st.bluer.l.7.room"), None);
    }
}
