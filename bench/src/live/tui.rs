//! The live view: what a run does, over the whole terminal.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::picture::{Phase, Picture, Sums};
use super::screen::{self, Screen, Wish};
use super::{chart, text};
use crate::meter::real;
use crate::output::units::{bytes, count, plain, share, time};

/// How often it is drawn.
const DRAW: Duration = Duration::from_millis(250);

/// The rows that say something in words; charts take what is left.
const ROWS: u16 = 10;

/// How wide a percentile is.
const PERCENTILE_WIDTH: u16 = 9;

/// The view, and the terminal that it has.
pub(crate) struct Tui {
    screen: Screen,
    drawn: Option<(Instant, Phase)>,
    colours: bool,
}

impl Tui {
    pub(super) fn open() -> io::Result<Self> {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Ok(Self { screen: Screen::take()?, drawn: None, colours })
    }

    pub(super) fn show(&mut self, picture: &Picture) -> io::Result<Wish> {
        let new =
            self.drawn.is_none_or(|(at, phase)| at.elapsed() >= DRAW || phase != picture.phase);
        if new {
            self.drawn = Some((Instant::now(), picture.phase));
            let colours = self.colours;
            self.screen.draw(|buffer, area| Page { picture, colours }.draw(area, buffer))?;
        }
        screen::wish()
    }
}

/// One drawing.
struct Page<'a> {
    picture: &'a Picture,
    colours: bool,
}

impl Page<'_> {
    fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let mut rest = area;
        for line in [self.title(area.width), self.phase(area.width), self.rate()] {
            put(line, &mut rest, buffer);
        }
        self.charts(&mut rest, buffer);
        self.percentiles(&mut rest, buffer);
        for line in [self.counts(), self.server(), self.generator(), self.disconnects()] {
            put(line, &mut rest, buffer);
        }
    }

    fn style(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Nothing is good; what is more stands out.
    fn none(&self, label: &str, number: u64) -> [Span<'static>; 2] {
        let style = if number == 0 {
            self.style(Color::Green)
        } else {
            self.style(Color::Red).add_modifier(Modifier::BOLD)
        };
        [Span::raw(format!("{label} ")), Span::styled(format!("{}  ", count(real(number))), style)]
    }

    fn title(&self, width: u16) -> Line<'static> {
        let head = &self.picture.head;
        let (name, keys) = (format!("stentor-bench {}  ", plain(&head.command)), "q ends the run");
        let target = plain(&head.target);
        let used = name.chars().count() + target.chars().count() + keys.len();
        let gap = usize::from(width).saturating_sub(used).max(2);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Line::from(vec![
            Span::styled(name, bold),
            Span::raw(target),
            faint(format!("{:gap$}{keys}", "")),
        ])
    }

    fn phase(&self, width: u16) -> Line<'static> {
        let picture = self.picture;
        let words = format!("{}  {}  ", text::phase(picture.phase), text::progress(picture));
        let room = usize::from(width).saturating_sub(words.chars().count()).min(60);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a width")]
        let done = (picture.progress() * real(room as u64)) as usize;
        Line::from(vec![
            Span::raw(words),
            Span::styled("━".repeat(done), self.style(Color::Cyan)),
            faint("─".repeat(room.saturating_sub(done))),
        ])
    }

    fn rate(&self) -> Line<'static> {
        let picture = self.picture;
        let mut words = format!("{} connected", count(real(picture.connected)));
        if picture.head.hearers > 0 {
            let published = picture.columns().back().map_or(0, |column| column.published);
            let _ = write!(words, "  {} published/s", count(real(published)));
        }
        if picture.head.unit.is_empty() {
            return Line::from(words);
        }
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let rate = Span::styled(format!("{}  ", text::rate(picture)), bold);
        Line::from(vec![rate, Span::raw(words)])
    }

    /// Returns the area above the last rows, if it is large enough for a chart.
    fn charts(&self, rest: &mut Rect, buffer: &mut Buffer) {
        let words_below = ROWS - 3;
        let room = rest.height.saturating_sub(words_below);
        // The rates take a third, the latencies the rest, and a row between them and the words.
        let (rates, latencies) = match room {
            0..3 => (0, 0),
            3..8 => (room - 1, 0),
            _ => ((room - 2) / 3, room - 2 - (room - 2) / 3),
        };
        if rates > 0 {
            chart::rates(self.picture, top(rest, rates), buffer, self.style(Color::Cyan));
            top(rest, 1);
        }
        if latencies > 0 {
            chart::latencies(self.picture, top(rest, latencies), buffer, self.colours);
            top(rest, 1);
        }
    }

    fn percentiles(&self, rest: &mut Rect, buffer: &mut Buffer) {
        let label = if rest.width < 60 { 6 } else { 12 };
        let room = rest.width.saturating_sub(label) / PERCENTILE_WIDTH;
        let all = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
        // Where there is not room for all, these are what people look for first.
        let chosen: Vec<(&str, f64)> = match room {
            0..=2 => vec![all[0], all[2]],
            3 => vec![all[0], all[2], all[3]],
            4 => all[..4].to_vec(),
            _ => all.to_vec(),
        };
        let (label, width) = (usize::from(label), usize::from(PERCENTILE_WIDTH));
        let names = chosen.iter().map(|(name, _)| faint(format!("{name:>width$}")));
        let line = std::iter::once(Span::raw(format!("{:label$}", ""))).chain(names);
        put(line.collect(), rest, buffer);
        let row = |name: &str, of: &Histogram<u64>| -> Line<'static> {
            let values = chosen.iter().map(|(_, quantile)| {
                let value = text::percentile(of, *quantile).replace(' ', "");
                Span::raw(format!("{value:>width$}"))
            });
            std::iter::once(Span::raw(format!("{name:label$}"))).chain(values).collect()
        };
        let (last, whole) = if label == 6 { ("last", "run") } else { ("last second", "whole run") };
        put(row(last, self.picture.last()), rest, buffer);
        put(row(whole, self.picture.whole()), rest, buffer);
    }

    fn counts(&self) -> Line<'static> {
        let sums = self.picture.sums();
        if self.picture.head.hearers == 0 {
            return Line::default();
        }
        let mut spans = Vec::new();
        spans.extend(self.none("lost", sums.missing));
        spans.extend(self.none("duplicated", sums.duplicated));
        spans.extend(self.none("out of order", sums.out_of_order));
        if sums.strays > 0 {
            spans.push(Span::raw(format!("strays {}  ", count(real(sums.strays)))));
        }
        spans.push(faint(format!("{} under way", count(real(self.picture.under_way())))));
        Line::from(spans)
    }

    fn server(&self) -> Line<'static> {
        let Some(server) = self.picture.server else {
            return Line::from(faint("server     give --server-pid to see its CPU and memory"));
        };
        let cpu = server.cpu_share.map_or("–".to_owned(), share);
        Line::from(format!("server     {cpu} of a core  {}", bytes(real(server.rss_bytes))))
    }

    fn generator(&self) -> Line<'static> {
        let busiest = self.picture.columns().back().map_or(0.0, |column| column.generator);
        let late = time(real(self.picture.sums().late_ns));
        Line::from(format!("generator  {} of a core  late p99 {late}", share(busiest)))
    }

    fn disconnects(&self) -> Line<'static> {
        let Sums { endings, away, .. } = self.picture.sums();
        let mut spans = Vec::from(self.none("disconnects", endings.values().sum()));
        let by = |(code, number): (&String, &u64)| format!("{} {number}", plain(code));
        let mut codes: Vec<String> = endings.iter().map(by).collect();
        if away > 0 {
            codes.push(format!("{} away", count(real(away))));
        }
        spans.push(Span::raw(codes.join("  ")));
        Line::from(spans)
    }
}

fn faint(text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), Style::new().add_modifier(Modifier::DIM))
}

/// Takes rows off the top.
fn top(rest: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(rest.height);
    let taken = Rect { height: rows, ..*rest };
    rest.y += rows;
    rest.height -= rows;
    taken
}

/// Writes the next row, if there is one.
fn put(line: Line<'_>, rest: &mut Rect, buffer: &mut Buffer) {
    let row = top(rest, 1);
    if row.height > 0 {
        line.render(row, buffer);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Cell;

    use super::*;
    use crate::live::picture::tests::{picture, second};
    use crate::live::{Server, Snapshot};

    /// A minute of a run.
    fn busy() -> Picture {
        let mut picture = picture(1);
        picture.connected = 10;
        (picture.phase, picture.passed_s, picture.of_s) = (Phase::Measuring, 60.0, Some(120.0));
        picture.server = Some(Server { cpu_share: Some(0.482), rss_bytes: 48_000_000 });
        for number in 0..60 {
            let endings = [("1006".to_owned(), 10), ("none".to_owned(), 2)].into();
            let sums = Sums { missing: 7, late_ns: 12_000, endings, ..Sums::default() };
            let second = second(number, 51_230 + number, 100 * (number + 1));
            picture.take(Snapshot { thread: 0, second, sums });
            picture.fold(true);
        }
        picture
    }

    fn drawn(picture: &Picture, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        Page { picture, colours: true }.draw(area, &mut buffer);
        let cells = buffer.content.chunks(usize::from(width).max(1));
        cells.map(|row| row.iter().map(Cell::symbol).collect()).collect()
    }

    #[test]
    fn all_of_it_is_on_a_usual_terminal() {
        let rows = drawn(&busy(), 80, 24);
        let page = rows.join("\n");
        for text in [
            "stentor-bench fanout  ws://127.0.0.1:9001/ws",
            "q ends the run",
            "measuring  60 of 120 s  ━━━",
            "51,289 deliveries/s  10 connected  5,128 published/s",
            "      p50      p90      p99    p99.9      max",
            "last second",
            "whole run",
            "6ms",
            "lost 7  duplicated 0  out of order 0",
            "server     48.2 % of a core  48 MB",
            "generator  26.8 % of a core  late p99 12 µs",
            "disconnects 12  1006 10  none 2",
            "█",
        ] {
            assert!(page.contains(text), "{text:?} is not in\n{page}");
        }
        // Slower and slower: from the lower left to the upper right.
        let shades: Vec<usize> = rows.iter().filter_map(|row| row.rfind('█')).collect();
        assert!(shades.len() > 6, "{page}");
    }

    #[test]
    fn a_small_terminal_has_the_words() {
        let rows = drawn(&busy(), 40, 10);
        let page = rows.join("\n");
        for text in ["measuring", "51,289 deliveries/s", "p99.9", "lost 7", "server", "disconnects"]
        {
            assert!(page.contains(text), "{text:?} is not in\n{page}");
        }
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        let (new, busy) = (picture(1), busy());
        for width in (0..60).chain([79, 80, 200, 1000]) {
            for height in (0..40).chain([100, 300]) {
                drawn(&new, width, height);
                drawn(&busy, width, height);
            }
        }
    }

    #[test]
    fn what_comes_from_elsewhere_moves_no_cursor() {
        let mut picture = busy();
        picture.head.target = "ws://\x1b[2J\r\n/".to_owned();
        let endings = [("\x1b]0;x\x07".to_owned(), 1)].into();
        let sums = Sums { endings, ..Sums::default() };
        picture.take(Snapshot { thread: 0, second: second(99, 1, 1), sums });
        let page = drawn(&picture, 80, 24).concat();
        assert!(!page.chars().any(char::is_control), "{page}");
    }
}
