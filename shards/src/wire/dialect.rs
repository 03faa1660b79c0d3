//! The dialects: one line for each here, and one folder for each beside this file.
//!
//! A dialect reads a client's messages into commands and writes events and publications as bytes.
//! Nothing outside of `wire/` knows which dialects there are.

use bytes::BytesMut;

use super::command::{Command, Mistake, Said};
use super::event::Event;
use super::frame::put_close;
use super::refusal::Refusal;
use super::transport::Transport;
use crate::close::CloseReason;
use crate::model::message::{Publication, Publications};
use crate::model::shape::{Chain, Form, Shape};

/// Settings that decide how a message is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// `ping` and `{"heartbeat":true}` are requests, not publications.
    pub(crate) text_ping: bool,
    /// Line breaks in plain text become spaces and its ends are trimmed.
    pub(crate) trim_text: bool,
}

/// Makes the enum of dialects, and the calls into the folder of each.
macro_rules! dialects {
    ($($(#[$condition:meta])* $dialect:ident => $folder:ident,)+) => {
        /// The language of a client.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Dialect {
            $($(#[$condition])* $dialect,)+
        }

        impl Dialect {
            /// Every dialect, in the order of their numbers in [`Shape`].
            const ALL: &[Self] = &[$($(#[$condition])* Self::$dialect,)+];

            fn facts(self) -> Facts {
                match self {
                    $($(#[$condition])* Self::$dialect => super::$folder::FACTS,)+
                }
            }

            /// Returns the command of a message, or the mistake in it.
            ///
            /// A payload shares the memory of `said`.
            pub(crate) fn read(
                self,
                said: &mut Said,
                reading: Reading,
            ) -> Result<Command<'_>, Mistake> {
                match self {
                    $($(#[$condition])*
                    Self::$dialect => super::$folder::read::read(said, reading),)+
                }
            }

            /// Appends an event as whole frames; nothing, if the dialect has no message for it.
            fn write(self, out: &mut BytesMut, event: &Event<'_>) {
                match self {
                    $($(#[$condition])*
                    Self::$dialect => super::$folder::write::write(out, event),)+
                }
            }

            /// Appends a publication as one frame.
            fn write_publication(self, out: &mut BytesMut, publication: &Publication) {
                match self {
                    $($(#[$condition])*
                    Self::$dialect => super::$folder::write::publication(out, publication),)+
                }
            }
        }
    };
}

// The order is that of the numbers in `Shape`.
dialects! {
    Plain => plain,
    Stentor => stentor,
    Centrifugo => centrifugo,
    Uni => uni,
    Protobuf => protobuf,
    Pusher => pusher,
    #[cfg(any(test, fuzzing))] Lines => lines,
}

/// Appends publications to the first argument, as few frames as the dialect can join them in, and
/// the end of each frame to the second one.
pub(crate) type WriteJoined = fn(&mut BytesMut, &mut Vec<usize>, Publications<'_>);

/// Appends a publication as one frame, perhaps by its difference from the one before.
pub(crate) type WriteChained = fn(&mut BytesMut, &Publication, Option<&Publication>);

/// The facts about a dialect that decide how its clients are treated.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Facts {
    /// Its name for operators.
    pub(crate) name: &'static str,
    /// Requests can name channels and users and are answered.
    pub(crate) has_requests: bool,
    /// Writes the texts of a tick as one message, if the dialect can.
    pub(crate) joined: Option<WriteJoined>,
    /// Leaves the first request of a message, if one may hold several.
    pub(crate) split: Option<Split>,
    /// Clients say nothing after they have said who they are.
    pub(crate) is_deaf: bool,
    /// A message that is no request ends its client.
    pub(crate) is_strict: bool,
    /// A request that is refused is an error, of which a client may make a few; otherwise only what
    /// cannot be read is.
    pub(crate) counts_refusals: bool,
    /// A join is answered before the client is told what it missed.
    pub(crate) answers_first: bool,
    /// A leave of a channel that the client is not in is answered as any other.
    pub(crate) leaves_at_will: bool,
    /// Writes a publication of a chain, if the dialect has patches.
    pub(crate) chained: Option<WriteChained>,
    /// The greeting names all channels of which its client is a member from the start, not only the
    /// first one.
    pub(crate) greets_with_all: bool,
    /// It has no word for lost publications: a client that loses some of a channel which recovers
    /// is taken out of it, and comes back for them.
    pub(crate) leaves_at_gaps: bool,
    /// Its clients are told in time that a token ends.
    pub(crate) tells_ahead: bool,
    /// The seconds behind the end of a token for which a newer one is waited for.
    pub(crate) grace_s: u32,
    /// Its table of close codes.
    pub(crate) close: fn(CloseReason) -> Option<(u16, &'static str)>,
    /// Its close codes for clients that are not let in, if these say who they are by a command,
    /// after the 101; `None`, if they say so by their request.
    pub(crate) refusal: Option<RefusalCode>,
    /// The same, if clients say by their request who they are, and are told behind a 101 that they
    /// are not let in: they know no other refusal. Such clients are told the end of their
    /// connection in words too.
    pub(crate) late_refusal: Option<RefusalCode>,
}

/// Leaves the first request of a message, and returns the others, if there are any.
pub(crate) type Split = fn(&mut Said) -> Option<Said>;

/// Returns the close code and the text for a client that is not let in.
pub(crate) type RefusalCode = fn(&Refusal) -> (u16, &str);

impl Dialect {
    /// The name of a shape's dialect, and of its transport where that is none of WebSocket, for
    /// operators.
    pub(crate) fn name(shape: Shape) -> &'static str {
        let dialect = Self::of(shape).0;
        let transport = Transport::of(shape);
        match (transport.is_stream(), transport.is_of_events(), dialect) {
            (false, ..) => dialect.facts().name,
            (_, true, Self::Plain) => "sse",
            (_, true, Self::Uni) => "centrifugo-uni-sse",
            (_, true, _) => "centrifugo-sse",
            (_, _, Self::Uni) => "centrifugo-uni-http-stream",
            (_, _, Self::Protobuf) => "centrifugo-protobuf-http-stream",
            _ => "centrifugo-http-stream",
        }
    }

    /// Returns `true` if requests can name channels and users and are answered. A client of another
    /// dialect speaks to the channel of its URL, and hears nothing but publications.
    pub(crate) fn has_requests(self) -> bool {
        self.facts().has_requests
    }

    /// Returns `true` if clients are told of publications that they have lost.
    pub(crate) fn tells_gaps(self) -> bool {
        let mut frame = BytesMut::new();
        self.write(&mut frame, &Event::Gap { channel: "", from: 1, to: 1 });
        !frame.is_empty()
    }

    /// Returns the close code and the text for a client that ends with this reason; `None` if the
    /// client is not told.
    pub(crate) fn close(self, reason: CloseReason) -> Option<(u16, &'static str)> {
        (self.facts().close)(reason)
    }

    /// Leaves the first request of a message, and returns the others, if there are any.
    pub(crate) fn split(self, said: &mut Said) -> Option<Said> {
        self.facts().split.and_then(|split| split(said))
    }

    /// Returns `true` if a join is answered before the client is told what it missed.
    pub(crate) fn answers_first(self) -> bool {
        self.facts().answers_first
    }

    /// Returns `true` if a leave of a channel that the client is not in is no mistake.
    pub(crate) fn leaves_at_will(self) -> bool {
        self.facts().leaves_at_will
    }

    /// Returns `true` if clients of this dialect are not listened to once they are in.
    pub(crate) fn is_deaf(self) -> bool {
        self.facts().is_deaf
    }

    /// Returns `true` if a greeting names all channels of its client.
    pub(crate) fn greets_with_all(self) -> bool {
        self.facts().greets_with_all
    }

    /// Returns `true` if a client of a shape leaves a channel of which it has lost something, and
    /// comes back. An event with an id is all that an `EventSource` comes back with: it does not
    /// compare ids, and the next one would hide the loss for good.
    pub(crate) fn leaves_at_gaps(shape: Shape) -> bool {
        Self::of(shape).0.facts().leaves_at_gaps || Transport::of(shape).has_one_channel()
    }

    /// Returns `true` if clients are told in time that a token ends.
    pub(crate) fn tells_ahead(self) -> bool {
        self.facts().tells_ahead
    }

    /// Returns the seconds behind the end of a token for which a newer one is waited for.
    pub(crate) fn grace_s(self) -> u32 {
        self.facts().grace_s
    }

    /// Returns `true` if publications may be told by their difference from the one before.
    pub(crate) fn has_patches(self) -> bool {
        self.facts().chained.is_some()
    }

    /// Returns `true` if a message that is no request ends its client.
    pub(crate) fn is_strict(self) -> bool {
        self.facts().is_strict
    }

    /// Returns `true` if a request that is refused counts as an error.
    pub(crate) fn counts_refusals(self) -> bool {
        self.facts().counts_refusals
    }

    /// Returns `true` if messages are bytes behind their lengths, also in the bodies of requests.
    pub(crate) fn is_binary(self) -> bool {
        self == Self::Protobuf
    }

    /// Returns the words in the body of a request; `None` if they cannot be any.
    pub(crate) fn words(self, body: Vec<u8>) -> Option<Said> {
        if self.is_binary() {
            return Some(Said::Binary(body.into()));
        }
        String::from_utf8(body).ok().map(|text| Said::Text(text.into()))
    }

    /// Returns `true` if clients say who they are by a command, after the 101.
    pub(crate) fn connects_by_command(self) -> bool {
        self.facts().refusal.is_some()
    }

    /// Returns `true` if a client whose request is refused gets a 101 first.
    pub(crate) fn refuses_behind_the_101(self) -> bool {
        self.facts().late_refusal.is_some()
    }

    /// Returns the close code and the text for a client that is not let in after its 101.
    pub(crate) fn refusal(self, refusal: &Refusal) -> Option<(u16, &str)> {
        let facts = self.facts();
        facts.refusal.or(facts.late_refusal).map(|close| close(refusal))
    }

    /// The shape of publications for a client of this dialect, with a tick's texts joined if the
    /// client wants that and the dialect can do it.
    pub(crate) fn shape(self, joined: bool) -> Shape {
        Shape(self as u8 * 2 + u8::from(joined && self.facts().joined.is_some()))
    }

    /// Appends an event as whole frames of a shape; nothing, if its dialect has no message for it.
    pub(crate) fn write_event(shape: Shape, out: &mut BytesMut, event: &Event<'_>) {
        let start = out.len();
        Self::of(shape).0.write(out, event);
        Transport::of(shape).carry(out, start, None);
    }

    /// Appends the last word to a client of a shape.
    pub(crate) fn write_close(shape: Shape, out: &mut BytesMut, (code, reason): (u16, &str)) {
        let (dialect, transport) = (Self::of(shape).0, Transport::of(shape));
        let start = out.len();
        if transport.is_stream() || dialect.is_deaf() || dialect.refuses_behind_the_101() {
            dialect.write(out, &Event::Closing { code, reason });
        }
        // A close frame has a counterpart in streams, for dialects that have no message for it.
        if !transport.is_stream() || out.len() == start {
            put_close(out, code, reason);
        }
        transport.carry(out, start, None);
        transport.end(out);
    }

    /// Returns `true` if others speak for clients of a shape, by requests of their own.
    pub(crate) fn is_emulated(shape: Shape) -> bool {
        let dialect = Self::of(shape).0;
        Transport::of(shape).is_stream() && dialect.has_requests() && !dialect.is_deaf()
    }

    /// Returns `true` if clients of a shape answer pings.
    pub(crate) fn answers_pings(shape: Shape) -> bool {
        !Transport::of(shape).is_stream() || Self::is_emulated(shape)
    }

    /// Returns the dialect of a shape; `true` if texts are joined in it.
    pub(crate) fn of(shape: Shape) -> (Self, bool) {
        let Shape(number) = Transport::without(shape);
        (Self::ALL[usize::from(number / 2)], number % 2 == 1)
    }

    /// Appends publications to `out` as whole frames, and the end of each frame to `ends`.
    pub(crate) fn write_publications(
        Form { shape, chain, .. }: Form,
        out: &mut BytesMut,
        ends: &mut Vec<usize>,
        publications: Publications<'_>,
    ) {
        let (dialect, joined) = Self::of(shape);
        if let Some(write) = dialect.facts().joined.filter(|_| joined) {
            return write(out, ends, publications);
        }
        let (transport, epoch) = (Transport::of(shape), publications.epoch());
        let position = |one: &Publication| Publications::position_of(epoch, one);
        if let Some(write) = dialect.facts().chained.filter(|_| chain != Chain::Off) {
            let mut before = publications.before().filter(|_| chain == Chain::Linked);
            for publication in publications {
                let start = out.len();
                write(out, publication, before);
                transport.carry(out, start, position(publication));
                ends.push(out.len());
                before = (chain != Chain::Whole).then_some(publication);
            }
            return;
        }
        for publication in publications {
            let start = out.len();
            dialect.write_publication(out, publication);
            transport.carry(out, start, position(publication));
            ends.push(out.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_names_its_dialect() {
        for (index, &dialect) in Dialect::ALL.iter().enumerate() {
            assert_eq!(dialect as usize, index);
            for joined in [false, true] {
                let expected = (dialect, joined && dialect.facts().joined.is_some());
                assert_eq!(Dialect::of(dialect.shape(joined)), expected);
            }
        }
    }

    #[test]
    fn only_plain_texts_are_joined_and_shapes_keep_their_numbers() {
        let shapes = |dialect: Dialect| [false, true].map(|joined| dialect.shape(joined).0);
        assert_eq!(shapes(Dialect::Plain), [0, 1]);
        assert_eq!(shapes(Dialect::Stentor), [2, 2]);
        assert_eq!(shapes(Dialect::Centrifugo), [4, 4]);
        assert_eq!(shapes(Dialect::Uni), [6, 6]);
        assert_eq!(shapes(Dialect::Protobuf), [8, 8]);
        assert_eq!(shapes(Dialect::Pusher), [10, 10]);
        assert_eq!(shapes(Dialect::Lines), [12, 12]);
    }
}
