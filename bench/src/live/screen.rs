//! The terminal as a whole: taken for the live view, and given back whatever happens.

use std::io::{self, BufWriter, IsTerminal, Stderr};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::Rect;

/// Set while the terminal is ours. Changed and drawn under the lock of standard error only.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back as it was; does nothing if it was not taken, or is back already.
pub(crate) fn restore() {
    let mut stderr = io::stderr().lock();
    // Relaxed: the lock orders it.
    if TAKEN.swap(false, Ordering::Relaxed) {
        // A terminal that has gone needs nothing back.
        let _ = execute!(stderr, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Returns `true` if keys of this terminal reach this process: it is in the foreground.
pub(super) fn has_keys() -> bool {
    let stdin = io::stdin();
    let own = rustix::process::getpgrp();
    stdin.is_terminal() && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|front| front == own)
}

/// A request of the person at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    GoOn,
    End,
}

/// The terminal while it is ours.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
}

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        restore_when_panicking();
        let mut stderr = io::stderr().lock();
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::Relaxed);
        let entered = execute!(stderr, EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(io::stderr()))));
        drop(stderr);
        // A terminal that could be set up only in part is restored.
        entered.map(|terminal| Self { terminal }).inspect_err(|_| restore())
    }

    /// Draws, unless a panic or a signal has given the terminal back.
    pub(super) fn draw(
        &mut self,
        draw: impl FnOnce(&mut ratatui::buffer::Buffer, Rect),
    ) -> io::Result<()> {
        let _held = io::stderr().lock();
        if TAKEN.load(Ordering::Relaxed) {
            self.terminal.draw(|frame| {
                let area = frame.area();
                draw(frame.buffer_mut(), area);
            })?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Returns the request of the keys that were pressed since the last call.
pub(super) fn wish() -> io::Result<Wish> {
    let mut wish = Wish::GoOn;
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()?
            && ends(key)
        {
            wish = Wish::End;
        }
    }
    Ok(wish)
}

/// In this mode Ctrl-C is a key like any other.
fn ends(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('q' | 'Q') => true,
            KeyCode::Char('c' | 'C') => control,
            _ => false,
        }
}

/// A panic's message belongs on the screen that stays.
fn restore_when_panicking() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            usual(info);
        }));
    });
}
