//! Secrets that stand in a file of their own, as containers and service managers mount them.

use std::path::Path;

use super::file::bytes_in;

/// The most bytes that such a file may hold.
const BYTES_MAX: u64 = 4096;

/// Reads a key that a header carries. The error names the file.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let text = text_in(path)?;
    check(&text).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(text)
}

/// Reads a secret; one line end behind it is no part of it. The error names the file.
pub(super) fn text_in(path: &Path) -> Result<String, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    let bytes = bytes_in(path, BYTES_MAX).map_err(|error| named(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| named("it is not valid UTF-8".into()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(named("it is empty".into())) } else { Ok(text.to_owned()) }
}

/// Refuses keys that no request could show: a header holds no control characters.
pub(super) fn check(key: &str) -> Result<(), String> {
    if key.is_empty() {
        Err("it is empty".into())
    } else if key.chars().any(char::is_control) {
        Err("it holds a control character, which no HTTP header can".into())
    } else if key.trim() != key {
        Err("it begins or ends with a space, which no HTTP header keeps".into())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_cut_and_other_contents_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (contents, key) in [("k\n", "k"), ("k\r\n", "k"), ("k", "k")] {
            std::fs::write(&path, contents).unwrap();
            assert_eq!(read(&path).as_deref(), Ok(key));
        }
        for contents in ["", "\n", " k ", "a\nb\n", "k\n\n", &"k".repeat(4097)] {
            std::fs::write(&path, contents).unwrap();
            let why = read(&path).unwrap_err();
            assert!(why.starts_with(path.to_str().unwrap()), "{why}");
        }
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read(&path).unwrap_err().ends_with("it is not valid UTF-8"));
        assert!(read(folder.path()).is_err());
        assert!(read(Path::new("/dev/zero")).unwrap_err().contains("longer than 4096 bytes"));
        assert!(read(Path::new("/nowhere/key")).unwrap_err().starts_with("/nowhere/key: "));
    }
}
