//! `--history-file`: histories that outlive the process. They are read at the start, written once a
//! minute and before a take-over, and once more at the end.
//!
//! A client recovers over a restart if the file was written at the end: positions up to the newest
//! one in it are understood, and offsets go on behind them in a new epoch. Behind a file that was
//! written earlier there may have been more, which is lost: it can be read, and no position of that
//! process is understood.

#[cfg(test)]
mod given_up;
mod lock;
mod owner;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use stentor_shards::snapshot::{self, ChannelPast, Saved};
use stentor_shards::{Ending, Handle, fresh_seed};
use tokio::sync::Mutex;

use lock::{IN_USE, Lock};
use owner::Owner;

use crate::config::Settings;
use crate::takeover::{self, Prepare};

pub(crate) use lock::is_in_use;

const NAME: &str = "history.stentor";

/// A file of so many bytes is read whatever the settings allow.
const BYTES_MIN: u64 = 1 << 30;

/// The name's end of a file that is not finished begins so.
const DRAFT: &[u8] = b"draft";

/// The time from one writing to the next.
const PERIOD: Duration = Duration::from_mins(1);

/// A take-over waits so long for the file at most: the other process waits for the answer.
const TAKE_OVER_PATIENCE: Duration = Duration::from_secs(3);

/// The file of this process, until another process or the end has it.
#[derive(Debug, Clone)]
pub(crate) struct HistoryFile {
    path: PathBuf,
    /// The most bytes of a file that is read.
    bytes_max: u64,
    /// This process, as the owner's file names it.
    name: String,
    /// `false` once this process writes it no more.
    is_ours: Arc<AtomicBool>,
    /// Held while this process writes.
    writing: Arc<Mutex<()>>,
    /// The folder's lock, while this process has it.
    lock: Lock,
}

impl HistoryFile {
    /// The file that the settings ask for, if they do. The shards keep their histories for it then.
    ///
    /// # Errors
    /// Its folder can neither be used nor made, or another process uses it from which this one does
    /// not take over.
    pub(crate) fn of(settings: &mut Settings, takes_over: bool) -> Result<Option<Self>, String> {
        let Some(folder) = &settings.history_file else { return Ok(None) };
        settings.shards.saves_history = true;
        // Twice as much as all shards may keep: the file has names and positions as well.
        let each = settings.shards.history_total_bytes as u64;
        let all = each.saturating_mul(2 * settings.shards.cores.len() as u64);
        let named = |error: io::Error| format!("--history-file {}: {error}", folder.display());
        let file = Self::open(folder, all.max(BYTES_MIN)).map_err(named)?;
        let locked = if takes_over { file.lock.take() } else { file.lock.take_soon() };
        match locked {
            Ok(true) => {}
            // The process that is taken over from has it, and lets it go.
            Ok(false) if takes_over => {}
            Ok(false) => return Err(named(io::Error::other(IN_USE))),
            Err(error) => tracing::warn!(%error, "the folder of the history file is not locked"),
        }
        Ok(Some(file))
    }

    /// The file in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder can neither be used nor made.
    fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = format!("{}-{:016x}\n", std::process::id(), fresh_seed().0);
        let (path, is_ours) = (folder.join(NAME), Arc::new(AtomicBool::new(true)));
        let (writing, lock) = (Arc::default(), Lock::of(folder));
        let file = Self { path, bytes_max, name, is_ours, writing, lock };
        // Found out now, not in a minute.
        drop(file.begin_draft()?);
        fs::remove_file(file.draft())?;
        Ok(file)
    }

    /// A new file for the next contents. It takes the place of anything: a pipe or a link there
    /// would have the process wait, or write somewhere else.
    fn begin_draft(&self) -> io::Result<File> {
        match fs::remove_file(self.draft()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::create_new(self.draft()),
        }
    }

    /// Makes this process the one that writes the file, as soon as it serves: what an earlier one
    /// has begun to write comes no more in the place of what this one writes.
    pub(crate) fn take(&self) {
        let taken = Owner::beside(&self.path).and_then(|mut owner| {
            owner.name(&self.name)?;
            self.remove_drafts()
        });
        self.report(taken);
        if let Err(error) = self.lock.wait_for() {
            tracing::warn!(%error, "the folder of the history file is not locked");
        }
    }

    /// Removes what earlier processes have not finished: nobody would.
    fn remove_drafts(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            let is_draft = path.extension().is_some_and(|end| end.as_bytes().starts_with(DRAFT));
            if is_draft && path.file_stem() == self.path.file_stem() && path != self.draft() {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Reads the file. One that is damaged, or cannot be read, is put aside, named in the log, and
    /// not used: the next writing would take its place.
    pub(crate) fn read(&self) -> Vec<ChannelPast> {
        let path = self.path.display();
        let found = match self.bytes() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => Err(error.to_string()),
            Ok(bytes) => snapshot::read(&bytes).map_err(|damaged| damaged.to_string()),
        };
        match found {
            Ok(channels) => {
                let owner = Owner::beside(&self.path).and_then(|mut owner| owner.has_ended());
                let (is_whole, count) = (matches!(owner, Ok(true)), channels.len());
                let what = "histories of an earlier process";
                tracing::info!(%path, channels = count, is_whole, "{what}");
                let past = |channel: ChannelPast| if is_whole { channel } else { channel.open() };
                channels.into_iter().map(past).collect()
            }
            Err(why) => {
                let aside = self.path.with_extension("damaged");
                let kept = fs::rename(&self.path, &aside).is_ok();
                let aside = kept.then(|| aside.display().to_string());
                tracing::error!(%path, why, aside, "the history file is not used");
                Vec::new()
            }
        }
    }

    /// Returns the contents of the file, of which there may be no end.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        // A pipe without a writer would have the process wait for one.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::open(&self.path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if metadata.len() > self.bytes_max {
            let (bytes, bytes_max) = (metadata.len(), self.bytes_max);
            return Err(io::Error::other(format!("it has {bytes} bytes, {bytes_max} are allowed")));
        }
        let mut bytes = Vec::new();
        file.take(self.bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the file once a minute, on a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn keep(&self, handle: Handle) -> io::Result<()> {
        let file = self.clone();
        thread::Builder::new().name("history".into()).spawn(move || {
            loop {
                let until = Instant::now() + PERIOD;
                while let Some(left) = until.checked_duration_since(Instant::now()) {
                    thread::park_timeout(left);
                }
                if !file.is_ours() {
                    return;
                }
                file.report(file.save(&handle));
            }
        })?;
        Ok(())
    }

    /// The preparation for another process that takes over.
    pub(crate) fn prepare(&self, handle: &Handle) -> Prepare {
        let (file, handle) = (self.clone(), handle.clone());
        Prepare(Box::new(move || file.pass_on(&handle)))
    }

    /// Writes what the shards have now, and leaves the file to the process that takes over.
    fn pass_on(&self, handle: &Handle) {
        let (file, handle) = (self.clone(), handle.clone());
        let (done, written) = std::sync::mpsc::channel();
        let spawned = thread::Builder::new().name("history".into()).spawn(move || {
            file.report(file.save(&handle));
            let _ = done.send(());
        });
        let waited = spawned.map(|_| written.recv_timeout(TAKE_OVER_PATIENCE));
        if !matches!(waited, Ok(Ok(()))) {
            tracing::warn!("the history file is not written in time for the process that comes");
        }
    }

    /// The process that takes over writes the file from now on.
    pub(crate) fn give_up(&self) {
        // No wait for a writing that goes on: it does not replace what the other process has.
        self.is_ours.store(false, Ordering::Relaxed);
        self.lock.let_go();
    }

    /// Writes what the shards have left, unless another process has taken over.
    pub(crate) fn end(&self, endings: Vec<Ending>) {
        self.report(self.write(endings.into_iter().map(|ending| Ok(ending.saved)), true));
        self.give_up();
    }

    fn save(&self, handle: &Handle) -> io::Result<()> {
        self.write(takeover::saved(handle, false)?, false)
    }

    /// Writes another file, and puts it in the place of the one that is there. `is_last`: nothing
    /// is numbered any more.
    fn write(
        &self,
        parts: impl Iterator<Item = io::Result<Saved>>,
        is_last: bool,
    ) -> io::Result<()> {
        let _writing = self.writing.blocking_lock();
        if !self.is_ours() {
            return Ok(());
        }
        let written = self.write_draft(parts).and_then(|()| self.replace(is_last));
        if written.is_err() {
            // It would fill a disk that is full already.
            let _ = fs::remove_file(self.draft());
        }
        written
    }

    fn write_draft(&self, parts: impl Iterator<Item = io::Result<Saved>>) -> io::Result<()> {
        let mut out = BufWriter::new(self.begin_draft()?);
        out.write_all(snapshot::MAGIC)?;
        let mut records = 0;
        for part in parts {
            let Saved { bytes, records: more, .. } = part?;
            out.write_all(&bytes)?;
            records += more;
        }
        let mut end = Vec::new();
        snapshot::put_end(&mut end, records);
        out.write_all(&end)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// Puts the draft in the place of the file, if no later process has taken that.
    fn replace(&self, is_last: bool) -> io::Result<()> {
        let mut owner = Owner::beside(&self.path)?;
        if !(owner.is(&self.name)? && self.is_ours()) {
            tracing::info!("another process writes the history file by now");
            // That one may have removed it.
            let _ = fs::remove_file(self.draft());
            return Ok(());
        }
        fs::rename(self.draft(), &self.path)?;
        if is_last { owner.end(self.folder()) } else { Ok(()) }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn report(&self, written: io::Result<()>) {
        if let Err(error) = written {
            let path = self.path.display();
            tracing::error!(%path, %error, "the history file is not written");
        }
    }

    fn draft(&self) -> PathBuf {
        // Two processes may write at one time.
        self.path.with_extension(format!("draft-{}", self.name.trim_end()))
    }

    fn is_ours(&self) -> bool {
        // Relaxed: the owner's file, under its lock, decides between two processes.
        self.is_ours.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: u64 = 1000;

    #[test]
    fn a_damaged_file_is_put_aside_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, aside) = (folder.path().join(NAME), folder.path().join("history.damaged"));
        let file = HistoryFile::open(folder.path(), BYTES_MAX).unwrap();
        assert!(file.read().is_empty(), "there is none yet");
        file.take();
        file.end(vec![Ending::default()]);
        assert!(file.read().is_empty() && kept.exists());
        let pipe = |path: &Path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
        };
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(&kept, b"STENTOR1 and nothing of it").unwrap(),
            &|| File::create(&kept).unwrap().set_len(BYTES_MAX + 1).unwrap(),
            &|| pipe(&kept),
            &|| fs::create_dir(&kept).unwrap(),
        ];
        for damage in damages {
            let _ = fs::remove_file(&kept);
            damage();
            let _ = fs::remove_file(&aside);
            assert!(file.read().is_empty());
            assert!(!kept.exists() && aside.exists());
        }
    }

    #[test]
    fn a_pipe_or_a_link_in_the_place_of_the_draft_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, b"mine").unwrap();
        let file = HistoryFile::open(folder.path(), BYTES_MAX).unwrap();
        file.take();
        let draft = file.draft();
        std::os::unix::fs::symlink(&other, &draft).unwrap();
        file.write(std::iter::empty(), false).unwrap();
        let full = || Err(io::Error::other("the disk is full"));
        assert!(file.write(std::iter::once_with(full), false).is_err() && !draft.exists());
        rustix::fs::mkfifoat(rustix::fs::CWD, &draft, Mode::RUSR | Mode::WUSR).unwrap();
        file.write(std::iter::empty(), false).unwrap();
        assert!(fs::read(&other).unwrap() == b"mine" && !draft.exists());
        assert!(fs::metadata(folder.path().join(NAME)).unwrap().is_file());
        fs::remove_file(folder.path().join("history.owner")).unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("history.owner")).unwrap();
        file.take();
        assert!(fs::read(&other).unwrap() == b"mine", "no other file is emptied");
    }

    #[test]
    fn what_an_earlier_process_writes_late_does_not_replace_what_a_later_one_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let [older, newer] = [(); 2].map(|()| HistoryFile::open(folder.path(), BYTES_MAX).unwrap());
        let part = |bytes: &[u8]| Ok(Saved { bytes: bytes.to_vec(), ..Saved::default() });
        let written = || fs::read(folder.path().join(NAME)).map_or(0, |bytes| bytes.len());
        older.take();
        // One that has not begun to serve writes nothing.
        newer.write(std::iter::once(part(b"0")), false).unwrap();
        assert_eq!(written(), 0);
        older.write(std::iter::once(part(b"1")), false).unwrap();
        let first = written();
        // The older one has begun when the newer one takes the file, writes and ends.
        let late = std::iter::once_with(|| {
            newer.take();
            newer.write(std::iter::once(part(b"333")), false).unwrap();
            part(b"22")
        });
        older.write(late, false).unwrap();
        assert_eq!(written(), first + 2);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "the file and its owner, and no draft");
        fs::write(folder.path().join("history.draft-1"), b"of a process that was killed").unwrap();
        older.take();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
