//! Plain lines, one a second, for logs and other readers that are no terminal.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::picture::{Phase, Picture};
use super::text;

/// One line of progress.
pub(crate) fn say(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}

/// The lines that have been printed so far.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    connected: bool,
    /// Whole seconds of connecting that were told.
    waited_s: u64,
    /// The first second that has not been told.
    next: u64,
}

impl Lines {
    pub(super) fn show(&mut self, picture: &Picture) -> io::Result<()> {
        let text = self.news(picture);
        if text.is_empty() { Ok(()) } else { io::stderr().write_all(text.as_bytes()) }
    }

    /// The lines that are due.
    fn news(&mut self, picture: &Picture) -> String {
        let mut news = String::new();
        if picture.phase == Phase::Connecting {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
            let seconds = picture.passed_s.max(0.0) as u64;
            if seconds > self.waited_s {
                self.waited_s = seconds;
                let _ = writeln!(news, "connecting  {}", text::progress(picture));
            }
            return news;
        }
        if !std::mem::replace(&mut self.connected, true) && picture.connected > 0 {
            let _ = writeln!(news, "{} connected", text::clients(picture));
        }
        if let Some(column) = picture.columns().back().filter(|column| column.second >= self.next) {
            self.next = column.second + 1;
            let _ = writeln!(news, "{:>4} s  {}", self.next, text::last_second(picture));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Snapshot;
    use crate::live::Sums;
    use crate::live::picture::tests::{picture, second};

    #[test]
    fn each_second_is_told_once() {
        let (mut lines, mut picture) = (Lines::default(), picture(1));
        picture.connected = 3;
        assert_eq!(lines.news(&picture), "");
        picture.passed_s = 1.1;
        assert_eq!(lines.news(&picture), "connecting  3 of 10 clients\n");
        assert_eq!(lines.news(&picture), "");
        (picture.phase, picture.connected) = (Phase::Measuring, 10);
        assert_eq!(lines.news(&picture), "10 of 10 clients connected\n");
        for number in 0..2 {
            let sums = Sums { missing: 1234, ..Sums::default() };
            picture.take(Snapshot { thread: 0, second: second(number, 2000, 1500), sums });
        }
        picture.measured_s = 1.8;
        picture.fold(false);
        let line = "   1 s  2,000 deliveries/s  p50 1.5 ms  p99 1.5 ms  lost 1,234\n";
        assert_eq!(lines.news(&picture), line);
        assert_eq!(lines.news(&picture), "");
        picture.fold(true);
        assert!(lines.news(&picture).starts_with("   2 s  2,000 "));
    }

    #[test]
    fn what_counts_nothing_says_who_is_there() {
        let (mut lines, mut picture) = (Lines::default(), picture(1));
        (picture.phase, picture.head.unit, picture.connected) = (Phase::Measuring, "", 7);
        picture.take(Snapshot { thread: 0, second: second(0, 0, 0), sums: Sums::default() });
        picture.fold(true);
        assert_eq!(lines.news(&picture), "7 of 10 clients connected\n   1 s  7 connected\n");
    }
}
