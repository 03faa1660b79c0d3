//! The only file that reads clocks; every stage gets `now` as an argument.

use rustix::time::{ClockId, clock_gettime};

/// A moment of the monotonic clock, in nanoseconds. Steps of the wall clock do not move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Now {
    pub(crate) ns: u64,
}

impl Now {
    /// Reads the monotonic clock.
    pub(crate) fn read() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        Self { ns: nanoseconds(time.tv_sec, time.tv_nsec) }
    }

    /// Milliseconds as the slots keep them: they wrap after 49 days, so compare by [`since_ms`].
    pub(crate) fn ms(self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "wraps on purpose")]
        let ms = (self.ns / 1_000_000) as u32;
        ms
    }

    /// Milliseconds that do not wrap.
    pub(crate) fn long_ms(self) -> u64 {
        self.ns / 1_000_000
    }

    /// Whole seconds.
    pub(crate) fn seconds(self) -> u32 {
        u32::try_from(self.ns / 1_000_000_000).unwrap_or(u32::MAX)
    }
}

/// Returns the milliseconds from `then` to `now`, across a wrap; zero if `then` is in the future.
pub(crate) fn since_ms(now_ms: u32, then_ms: u32) -> u32 {
    let distance = now_ms.wrapping_sub(then_ms);
    if distance > u32::MAX / 2 { 0 } else { distance }
}

/// Wall-clock milliseconds since 1970: for people, for `time` in messages, and for the times in
/// tokens.
pub fn unix_ms() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    nanoseconds(time.tv_sec, time.tv_nsec) / 1_000_000
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(nanoseconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_survives_the_wrap() {
        assert_eq!(since_ms(5, u32::MAX - 4), 10);
        assert_eq!(since_ms(1000, 400), 600);
        assert_eq!(since_ms(400, 1000), 0);
    }

    #[test]
    fn the_monotonic_clock_moves_on() {
        let first = Now::read();
        assert!(Now::read() >= first);
        assert!(unix_ms() > 1_600_000_000_000);
    }
}
