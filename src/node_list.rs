//! The nodes of a cluster, as the control plane tells of them.

use serde::Serialize;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    /// Its number, drawn at random when it started.
    #[serde(rename = "node")]
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// When it started, in milliseconds since 1970.
    pub(crate) started_ms: u64,
    /// It is the one that answers.
    #[serde(rename = "own")]
    pub(crate) is_own: bool,
}

/// All of them, in the order in which they started; none where there is no engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Nodes(pub(crate) Vec<Node>);
