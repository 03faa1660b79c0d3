//! The dialects: one line for each here, and one folder for each beside this file.
//!
//! A dialect reads a client's messages into commands and writes events and publications as bytes.
//! Nothing outside of `wire/` knows which dialects there are.

use bytes::BytesMut;

use super::command::{Command, Mistake, Said};
use super::event::Event;
#[cfg(any(test, fuzzing))]
use super::lines;
use super::{plain, stentor};
use crate::close::CloseReason;
use crate::model::message::Publication;
use crate::model::shape::Shape;

/// The language of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Plain,
    Stentor,
    #[cfg(any(test, fuzzing))]
    Lines,
}

/// Settings that decide how a message is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// `ping` and `{"heartbeat":true}` are requests, not publications.
    pub(crate) text_ping: bool,
    /// Line breaks in plain text become spaces and its ends are trimmed.
    pub(crate) trim_text: bool,
}

/// Calls a function of the dialect's own folder.
macro_rules! in_dialect {
    ($dialect:expr, $path:ident :: $call:ident ( $($argument:expr),* )) => {
        match $dialect {
            Dialect::Plain => plain::$path::$call($($argument),*),
            Dialect::Stentor => stentor::$path::$call($($argument),*),
            #[cfg(any(test, fuzzing))]
            Dialect::Lines => lines::$path::$call($($argument),*),
        }
    };
}

impl Dialect {
    /// Every dialect, in the order of their numbers in [`Shape`].
    const ALL: &[Self] = &[
        Self::Plain,
        Self::Stentor,
        #[cfg(any(test, fuzzing))]
        Self::Lines,
    ];

    /// The dialect's name for operators.
    pub(crate) fn name(self) -> &'static str {
        self.facts().name
    }

    /// Returns `true` if requests can name channels and users and are answered. A client of another
    /// dialect speaks to the channel of its URL, and hears nothing but publications.
    pub(crate) fn has_requests(self) -> bool {
        self.facts().has_requests
    }

    /// Returns `true` if a tick's texts can be joined into one message.
    pub(crate) fn joins_texts(self) -> bool {
        self.facts().joins_texts
    }

    /// Returns the command of a message, or the mistake in it.
    ///
    /// A payload shares the memory of `said`.
    pub(crate) fn read(self, said: &mut Said, reading: Reading) -> Result<Command<'_>, Mistake> {
        in_dialect!(self, read::read(said, reading))
    }

    /// Appends an event as whole frames; nothing, if the dialect has no message for it.
    pub(crate) fn write(self, out: &mut BytesMut, event: &Event<'_>) {
        in_dialect!(self, write::write(out, event));
    }

    /// Returns the close code and the text for a client that ends with this reason; `None` if the
    /// client is not told.
    pub(crate) fn close(self, reason: CloseReason) -> Option<(u16, &'static str)> {
        (self.facts().close)(reason)
    }

    /// The shape of publications for a client of this dialect.
    pub(crate) fn shape(self, joined: bool) -> Shape {
        Shape(self as u8 * 2 + u8::from(joined && self.joins_texts()))
    }

    /// Returns the dialect of a shape; `true` if texts are joined in it.
    pub(crate) fn of(shape: Shape) -> (Self, bool) {
        (Self::ALL[usize::from(shape.0 / 2)], shape.0 % 2 == 1)
    }

    /// Appends publications to `out` as whole frames, and the end of each frame to `ends`.
    pub(crate) fn write_publications<'a>(
        shape: Shape,
        out: &mut BytesMut,
        ends: &mut Vec<usize>,
        publications: impl Iterator<Item = &'a Publication>,
    ) {
        let (dialect, joined) = Self::of(shape);
        if joined {
            return plain::write::joined(out, ends, publications);
        }
        for publication in publications {
            in_dialect!(dialect, write::publication(out, publication));
            ends.push(out.len());
        }
    }

    fn facts(self) -> Facts {
        match self {
            Self::Plain => plain::FACTS,
            Self::Stentor => stentor::FACTS,
            #[cfg(any(test, fuzzing))]
            Self::Lines => lines::FACTS,
        }
    }
}

/// The facts about a dialect that decide how its clients are treated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) name: &'static str,
    pub(crate) has_requests: bool,
    pub(crate) joins_texts: bool,
    /// Its table of close codes.
    pub(crate) close: fn(CloseReason) -> Option<(u16, &'static str)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_names_its_dialect() {
        for (index, &dialect) in Dialect::ALL.iter().enumerate() {
            assert_eq!(dialect as usize, index);
            for joined in [false, true] {
                let expected = (dialect, joined && dialect.joins_texts());
                assert_eq!(Dialect::of(dialect.shape(joined)), expected);
            }
        }
    }
}
