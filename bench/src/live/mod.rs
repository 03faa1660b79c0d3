//! How a run looks while it runs: a view of the whole terminal, a bar, or plain lines.

mod picture;
mod text;
mod chart;
mod screen;
mod lines;
mod bar;
mod tui;
mod view;

pub(crate) use lines::say;
pub(crate) use picture::{Head, Phase, Picture, Server, Snapshot, Sums};
pub(crate) use screen::{Wish, restore};
pub(crate) use view::{Flags, View};
