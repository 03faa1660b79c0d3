//! A progress bar: one line of a terminal, and nothing else of it.

use std::fmt::Write as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use ratatui::crossterm::terminal;

use super::picture::{Phase, Picture};
use super::text;

/// How often it is drawn, at most.
const DRAWS_A_SECOND: u8 = 5;

/// Columns of the bar itself, as its template has it.
const BAR_COLUMNS: usize = 20;

/// Steps of the bar.
const STEPS: u64 = 1000;

/// A bar that goes from its beginning to its end in each phase.
pub(crate) struct Bar {
    bar: ProgressBar,
    phase: Phase,
}

impl Default for Bar {
    fn default() -> Self {
        let bar = ProgressBar::with_draw_target(
            Some(STEPS),
            ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND),
        );
        let style = ProgressStyle::with_template("{prefix} {bar:20.cyan} {msg}")
            .expect("the template is right");
        bar.set_style(style.progress_chars("━╸─"));
        Self { bar, phase: Phase::default() }
    }
}

impl Bar {
    pub(super) fn show(&mut self, picture: &Picture) {
        if picture.phase != self.phase {
            self.phase = picture.phase;
            self.bar.reset();
        }
        self.bar.set_prefix(text::phase(picture.phase));
        let mut message = text::progress(picture);
        if picture.columns().back().is_some() {
            let _ = write!(message, "  {}", text::last_second(picture));
        }
        // A row that is full to its end would leave the cursor below it, where it is not cleared.
        let (columns, _) = terminal::size().unwrap_or((80, 24));
        let before = text::phase(picture.phase).chars().count() + BAR_COLUMNS + 4;
        let room = usize::from(columns).saturating_sub(before);
        self.bar.set_message(message.chars().take(room).collect::<String>());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
        self.bar.set_position((picture.progress() * crate::meter::real(STEPS)) as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
