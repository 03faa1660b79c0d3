//! The exit codes, as sysexits.h numbers those above 64.

/// The run could not start or go on.
pub(crate) const RUN: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Another process has taken over from this one, which has drained.
pub(crate) const RELIEVED: u8 = 3;
/// Another process has just taken over, and does not yield yet.
pub(crate) const HELD: u8 = 4;
/// A fault of this program.
pub(crate) const INTERNAL: u8 = 70;
/// The configuration is not valid, or this host cannot carry it.
pub(crate) const CONFIG: u8 = 78;
