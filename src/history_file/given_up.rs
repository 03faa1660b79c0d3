//! A process that has given the history file up replaces nothing any more.

use super::*;

#[test]
fn a_process_that_gives_up_waits_for_no_writing_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = HistoryFile::open(folder.path(), 1000).unwrap();
    file.take();
    let late = std::iter::once_with(|| {
        file.give_up();
        Ok(Saved::default())
    });
    file.write(late, false).unwrap();
    file.write(std::iter::empty(), true).unwrap();
    assert!(!folder.path().join(NAME).exists(), "another process may have it by now");
}
