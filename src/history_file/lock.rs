//! The lock of the folder with the history file: two servers that do not take over from each other
//! would write their histories in the place of each other's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use tokio::sync::Mutex;

const NAME: &str = "history.lock";

/// The longest wait for a process that ends.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// The reason not to start.
pub(super) const IN_USE: &str =
    "another process keeps its histories there: give each server a folder of its own";

/// The lock of a folder. It is free again when this process ends.
#[derive(Debug, Clone)]
pub(super) struct Lock {
    path: PathBuf,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
enum Held {
    No(Option<File>),
    Yes(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File),
    /// This process wants it no more.
    GivenUp,
}

impl Lock {
    pub(super) fn of(folder: &Path) -> Self {
        Self { path: folder.join(NAME), held: Arc::new(Mutex::new(Held::No(None))) }
    }

    /// Takes the lock, for which it waits for some time: a process may be about to end. Returns
    /// `false` if another process has it.
    pub(super) fn take_soon(&self) -> io::Result<bool> {
        let end = Instant::now() + PATIENCE;
        loop {
            let is_taken = self.take()?;
            if is_taken || Instant::now() >= end {
                return Ok(is_taken);
            }
            thread::park_timeout(LOOK_PAUSE);
        }
    }

    /// Takes the lock. Returns `false` if another process has it.
    pub(super) fn take(&self) -> io::Result<bool> {
        let file = open_in(&self.path, OFlags::CREATE)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => *self.held.blocking_lock() = Held::Yes(file),
            Err(Errno::WOULDBLOCK) => {
                *self.held.blocking_lock() = Held::No(Some(file));
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Takes the lock as soon as the process lets it go that this one has taken over from, on a
    /// thread of its own.
    pub(super) fn wait_for(&self) -> io::Result<()> {
        let waits = self.held.blocking_lock();
        let Held::No(Some(file)) = &*waits else { return Ok(()) };
        let (file, held) = (file.try_clone()?, Arc::clone(&self.held));
        drop(waits);
        thread::Builder::new().name("lock".into()).spawn(move || {
            if flock(&file, FlockOperation::LockExclusive).is_ok() {
                let mut held = held.blocking_lock();
                if !matches!(*held, Held::GivenUp) {
                    *held = Held::Yes(file);
                }
            }
        })?;
        Ok(())
    }

    /// Lets the lock go.
    pub(super) fn let_go(&self) {
        *self.held.blocking_lock() = Held::GivenUp;
    }
}

/// Returns `true` if a process keeps its histories in a folder.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    let Ok(file) = open_in(&folder.join(NAME), OFlags::empty()) else { return false };
    matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK))
}

/// A link there is not followed, and a pipe does not have the process wait.
fn open_in(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    Ok(File::from(open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_the_lock_and_passes_it_on() {
        let folder = tempfile::tempdir().unwrap();
        let [older, newer, other] = [(); 3].map(|()| Lock::of(folder.path()));
        assert!(!is_in_use(folder.path()), "nobody has ever taken it");
        assert!(older.take().unwrap() && is_in_use(folder.path()));
        assert!(!newer.take().unwrap());
        newer.wait_for().unwrap();
        older.let_go();
        let end = Instant::now() + Duration::from_secs(20);
        while !matches!(*newer.held.blocking_lock(), Held::Yes(_)) {
            assert!(Instant::now() < end, "it is passed on");
            thread::yield_now();
        }
        assert!(!other.take().unwrap() && is_in_use(folder.path()));
        drop(newer);
        assert!(other.take().unwrap(), "it ends with its process");
    }
}
