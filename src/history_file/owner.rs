//! The owner's file, beside the history file: it says which process writes the history file, and
//! that file is replaced under its lock.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

const NAME: &str = "history.owner";

/// Its contents once the process has written everything, and numbers nothing any more.
const WHOLE: &str = "whole\n";

/// The owner's file, locked until it is closed.
#[derive(Debug)]
pub(super) struct Owner(File);

impl Owner {
    /// Opens the file beside `path`, and locks it.
    pub(super) fn beside(path: &Path) -> io::Result<Self> {
        // A link there would have another file emptied, and a pipe would have the process wait.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(open(path.with_file_name(NAME), flags | OFlags::CLOEXEC, mode)?);
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self(file))
    }

    /// Notes the process that writes from now on.
    pub(super) fn name(&mut self, process: &str) -> io::Result<()> {
        self.put(process)?;
        // From here on the history file is not whole, also if the host fails.
        self.0.sync_all()
    }

    /// Returns `true` if that process writes.
    pub(super) fn is(&mut self, process: &str) -> io::Result<bool> {
        Ok(self.contents()? == process)
    }

    /// Notes that the process which wrote the history file in that folder numbers nothing any more.
    pub(super) fn end(&mut self, folder: &Path) -> io::Result<()> {
        // The name of the history file first, also if the host fails.
        File::open(folder)?.sync_all()?;
        self.put(WHOLE)
    }

    /// Returns `true` if nothing was numbered behind the history file.
    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.contents()? == WHOLE)
    }

    fn put(&mut self, contents: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(contents.as_bytes())
    }

    fn contents(&mut self) -> io::Result<String> {
        let mut contents = Vec::new();
        self.0.rewind()?;
        (&self.0).take(256).read_to_end(&mut contents)?;
        Ok(String::from_utf8_lossy(&contents).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_from_the_end_of_its_process_to_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let owner = || Owner::beside(&path).unwrap();
        assert!(!owner().has_ended().unwrap(), "nobody has ever written it");
        for process in ["12-00000000000000aa\n", "7-00000000000000bb\n"] {
            owner().name(process).unwrap();
            assert!(owner().is(process).unwrap() && !owner().has_ended().unwrap());
            owner().end(folder.path()).unwrap();
            assert!(owner().has_ended().unwrap() && !owner().is(process).unwrap());
        }
        std::fs::write(path.with_file_name(NAME), [0xff; 1000]).unwrap();
        assert!(!owner().has_ended().unwrap());
    }
}
