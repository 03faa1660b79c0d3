//! The state of files as far as it can be seen without reading them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Tells one content of some files from another. Links are followed: Kubernetes puts another folder
/// behind one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks(Vec<Option<Mark>>);

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    device: u64,
    number: u64,
    size: u64,
    written: (i64, i64),
    /// It also changes with the owner and the mode of a file, which decide who may read it, and
    /// where a program has set the time of writing back.
    changed: (i64, i64),
}

/// Looks at some files.
pub(super) fn marks(files: &[PathBuf]) -> Marks {
    Marks(files.iter().map(|file| mark(file)).collect())
}

fn mark(file: &Path) -> Option<Mark> {
    let of = std::fs::metadata(file).ok()?;
    Some(Mark {
        device: of.dev(),
        number: of.ino(),
        size: of.size(),
        written: (of.mtime(), of.mtime_nsec()),
        changed: (of.ctime(), of.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_change_that_leaves_size_and_time_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        let look = || marks(std::slice::from_ref(&file));
        let missing = look();
        fs::write(&file, "one").unwrap();
        let first = look();
        assert_ne!(first, missing);
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        let second = look();
        assert_ne!(second, first, "the same size and time of writing");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_ne!(look(), second, "another one may read it");
    }
}
