//! The publications that one slow client has lost, until it can be told of them: one span of
//! offsets for each channel.

use std::sync::Arc;

use super::id::ChannelIndex;

/// Publications of one channel that follow each other, by the first and the last offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    pub(crate) fn one(offset: u64) -> Self {
        Self { from: offset, to: offset }
    }

    /// Returns the span from the first to the last offset of both.
    pub(crate) fn with(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }
}

/// Publications of a channel that a client has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    channel: ChannelIndex,
    pub(crate) name: Arc<str>,
    pub(crate) span: Span,
}

/// All gaps of one client. There is one for each channel at most: whatever else is lost before the
/// client is told widens it. So there are never more of them than channels that the client is in.
#[derive(Debug, Default)]
pub(crate) struct Gaps(Vec<Gap>);

impl Gaps {
    /// Notes that publications were lost.
    pub(crate) fn note(&mut self, channel: ChannelIndex, name: &Arc<str>, span: Span) {
        match self.0.iter_mut().find(|gap| gap.channel == channel) {
            Some(gap) => gap.span = gap.span.with(Some(span)),
            None => self.0.push(Gap { channel, name: Arc::clone(name), span }),
        }
    }

    /// Returns `true` if something of a channel is lost.
    pub(crate) fn has(&self, channel: ChannelIndex) -> bool {
        self.0.iter().any(|gap| gap.channel == channel)
    }

    /// Takes the gap of a channel.
    pub(crate) fn take(&mut self, channel: ChannelIndex) -> Option<Gap> {
        let place = self.0.iter().position(|gap| gap.channel == channel)?;
        Some(self.0.swap_remove(place))
    }

    /// Takes any gap.
    pub(crate) fn take_any(&mut self) -> Option<Gap> {
        self.0.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_a_channel_are_one_gap() {
        let mut gaps = Gaps::default();
        for offset in 3..=5 {
            gaps.note(ChannelIndex(1), &"one".into(), Span::one(offset));
        }
        gaps.note(ChannelIndex(2), &"two".into(), Span::one(9));
        let gap = gaps.take(ChannelIndex(1)).unwrap();
        assert_eq!((&*gap.name, gap.span), ("one", Span { from: 3, to: 5 }));
        assert_eq!(gaps.take(ChannelIndex(1)), None);
        assert_eq!(gaps.take_any().map(|gap| gap.span), Some(Span::one(9)));
        assert_eq!(gaps.take_any(), None);
    }
}
