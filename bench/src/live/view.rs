//! The view that fits the terminal and the flags.

use std::io::{self, IsTerminal};

use super::bar::Bar;
use super::lines::Lines;
use super::picture::Picture;
use super::screen::{self, Wish};
use super::tui::Tui;

/// The flags of the view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    /// Nothing is shown.
    pub(crate) quiet: bool,
    /// A bar stands for the view of the whole terminal.
    pub(crate) no_tui: bool,
}

/// The view that people have of a run. If it cannot be drawn, because a terminal has gone, the view
/// ends, and the run goes on.
pub(crate) enum View {
    /// Nothing.
    Silent,
    Lines(Lines),
    Bar(Box<Bar>),
    Tui(Box<Tui>),
}

impl View {
    /// The view for this terminal, if it is one, and these flags.
    pub(crate) fn open(flags: Flags) -> Self {
        if flags.quiet {
            return Self::Silent;
        }
        let moves = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        if !io::stderr().is_terminal() || !moves {
            return Self::Lines(Lines::default());
        }
        // Keys are read from standard input, and whoever runs in the background gets none.
        if !flags.no_tui
            && screen::has_keys()
            && let Ok(tui) = Tui::open()
        {
            return Self::Tui(Box::new(tui));
        }
        Self::Bar(Box::default())
    }

    /// Returns `true` if nothing is shown.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Silent)
    }

    /// Shows the picture as it is now, and hears what is wanted.
    pub(crate) fn show(&mut self, picture: &Picture) -> Wish {
        let shown = match self {
            Self::Silent => Ok(Wish::GoOn),
            Self::Lines(lines) => lines.show(picture).map(|()| Wish::GoOn),
            Self::Bar(bar) => {
                bar.show(picture);
                Ok(Wish::GoOn)
            }
            Self::Tui(tui) => tui.show(picture),
        };
        shown.unwrap_or_else(|_| {
            *self = Self::Silent;
            Wish::GoOn
        })
    }
}
