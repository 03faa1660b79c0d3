//! How a run looks while it runs: a view of the whole terminal, a bar, or plain lines.

mod bar;
mod chart;
mod lines;
mod picture;
mod screen;
mod text;
mod tui;

use std::io::{self, IsTerminal};

pub(crate) use lines::say;
pub(crate) use picture::{Glimpse, Head, Phase, Picture, Server, Sums};
pub(crate) use screen::restore;

use crate::load::Aim;
use bar::Bar;
use lines::Lines;
use tui::Tui;

/// What people see of a run. What cannot be drawn, because a terminal has gone, ends the view and
/// not the run.
pub(crate) enum View {
    /// Nothing.
    Silent,
    Lines(Lines),
    Bar(Box<Bar>),
    Tui(Box<Tui>),
}

/// What someone at the terminal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    GoOn,
    End,
}

impl View {
    /// The view for this terminal, if it is one, and these flags.
    pub(crate) fn open(aim: &Aim) -> Self {
        if aim.quiet {
            return Self::Silent;
        }
        let moves = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
        if !io::stderr().is_terminal() || !moves {
            return Self::Lines(Lines::default());
        }
        // Keys are read from standard input, and whoever runs in the background gets none.
        if !aim.no_tui
            && screen::has_keys()
            && let Ok(tui) = Tui::open()
        {
            return Self::Tui(Box::new(tui));
        }
        Self::Bar(Box::default())
    }

    /// Whether anything is to be shown.
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
