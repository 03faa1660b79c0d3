//! Charts over time, a column a second: how much came, and how long it took.

use std::ops::RangeInclusive;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::widgets::{Sparkline, Widget};

use super::picture::{CELLS_PER_DECADE, Column, Picture};
use crate::meter::real;
use crate::output::units::{count, time};

/// Where the columns begin, behind the names of the rows.
const MARGIN: u16 = 9;

/// From which part of a second's latencies on a cell looks how.
const SHADES: [(f64, &str, Color); 4] = [
    (0.2, "█", Color::Yellow),
    (0.05, "▓", Color::Green),
    (0.005, "▒", Color::Cyan),
    (0.0, "░", Color::Blue),
];

/// The columns that there is room for, the oldest of them first.
fn visible(picture: &Picture, area: Rect) -> impl Iterator<Item = &Column> + Clone {
    let columns = picture.columns();
    let room = usize::from(area.width.saturating_sub(MARGIN));
    columns.iter().skip(columns.len().saturating_sub(room))
}

/// Receipts of each second, under the most of them.
pub(super) fn rates(picture: &Picture, area: Rect, buffer: &mut Buffer, style: Style) {
    let rates: Vec<u64> = visible(picture, area).map(|column| column.received).collect();
    let most = rates.iter().max().copied().unwrap_or(0);
    if area.width <= MARGIN || area.height == 0 || most == 0 {
        return;
    }
    buffer.set_stringn(area.x, area.y, short(most), usize::from(MARGIN), Style::new());
    let area = Rect { x: area.x + MARGIN, width: area.width - MARGIN, ..area };
    Sparkline::default().data(&rates).max(most).style(style).render(area, buffer);
}

/// Latencies of each second: the slowest on top, on a scale of powers of ten.
pub(super) fn latencies(picture: &Picture, area: Rect, buffer: &mut Buffer, colours: bool) {
    let columns = visible(picture, area);
    let cells = columns.clone().flat_map(|column| &column.cells).map(|(cell, _)| *cell);
    let (Some(least), Some(most)) = (cells.clone().min(), cells.max()) else { return };
    if area.width <= MARGIN || area.height == 0 {
        return;
    }
    let rows = i32::from(area.height);
    let step = (most - least + 1).div_euclid(rows) + i32::from((most - least + 1) % rows > 0);
    for row in 0..area.height {
        let y = area.bottom() - 1 - row;
        let from = least + i32::from(row) * step;
        if from > most {
            break;
        }
        let name = time(10_f64.powf(f64::from(from) / f64::from(CELLS_PER_DECADE)));
        buffer.set_stringn(area.x, y, format!("{name:>8}"), usize::from(MARGIN), Style::new());
        for (x, column) in (area.x + MARGIN..area.right()).zip(columns.clone()) {
            if let Some((symbol, colour)) = shade(column, from..=from + step - 1) {
                let style = if colours { Style::new().fg(colour) } else { Style::new() };
                buffer.set_string(x, y, symbol, style);
            }
        }
    }
}

/// How the part of a second looks whose latencies lie in these cells.
fn shade(column: &Column, cells: RangeInclusive<i32>) -> Option<(&'static str, Color)> {
    let within = column.cells.iter().filter(|(cell, _)| cells.contains(cell));
    let number: u64 = within.map(|(_, number)| number).sum();
    let all: u64 = column.cells.iter().map(|(_, number)| number).sum();
    let part = real(number) / real(all.max(1));
    let shade = SHADES.iter().find(|(from, ..)| number > 0 && part >= *from)?;
    Some((shade.1, shade.2))
}

/// A rate in a few letters.
fn short(number: u64) -> String {
    match number {
        0..100_000 => count(real(number)),
        100_000..10_000_000 => format!("{}k", number / 1000),
        _ => format!("{}M", number / 1_000_000),
    }
}
