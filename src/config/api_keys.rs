//! The keys of the API: the one that may do everything, and the one that only reads.

use std::path::Path;

use super::{Settings, secret};

impl Settings {
    /// The key of the API, read from its file if it has one.
    ///
    /// # Errors
    /// The file cannot be read, with the name of its setting.
    pub(crate) fn read_api_key(&self) -> Result<Option<String>, String> {
        read_key("api-key-file", self.api_key.as_ref(), self.api_key_file.as_deref())
    }

    /// The same of the key that only reads.
    ///
    /// # Errors
    /// The file cannot be read, with the name of its setting.
    pub(crate) fn read_api_read_key(&self) -> Result<Option<String>, String> {
        let (key, file) = (self.api_read_key.as_ref(), self.api_read_key_file.as_deref());
        read_key("api-read-key-file", key, file)
    }

    /// Reads both keys from their files.
    ///
    /// # Errors
    /// A file cannot be read, a key is set twice, or the key that only reads stands alone.
    pub(super) fn complete_api_keys(&mut self) -> Result<(), String> {
        if self.api_key_file.is_some() && self.api_key.is_some() {
            return Err("api-key and api-key-file are both set: leave one out".into());
        }
        if self.api_read_key_file.is_some() && self.api_read_key.is_some() {
            return Err("api-read-key and api-read-key-file are both set: leave one out".into());
        }
        self.api_key = self.read_api_key()?;
        self.api_read_key = self.read_api_read_key()?;
        if self.api_read_key.is_some() && self.api_key.is_none() {
            return Err("api-read-key is set: set api-key too, or no key is asked for".into());
        }
        if self.api_read_key.is_some() && self.api_read_key == self.api_key {
            return Err("api-read-key is the same as api-key: it could do everything".into());
        }
        Ok(())
    }
}

/// Returns the key that a file holds, or the one that was set without a file.
fn read_key(
    setting: &str,
    key: Option<&String>,
    file: Option<&Path>,
) -> Result<Option<String>, String> {
    match file {
        None => Ok(key.cloned()),
        Some(path) => secret::read(path).map(Some).map_err(|why| format!("{setting}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_only_reads_needs_the_other_one_beside_it() {
        let keys = |key: Option<&str>, read_key: Option<&str>| {
            let mut settings = Settings {
                api_key: key.map(Into::into),
                api_read_key: read_key.map(Into::into),
                ..Settings::default()
            };
            settings.complete_api_keys()
        };
        assert_eq!(keys(Some("a"), Some("b")), Ok(()));
        assert_eq!(keys(Some("a"), None), Ok(()));
        assert!(keys(None, Some("b")).unwrap_err().contains("set api-key too"));
        assert!(keys(Some("a"), Some("a")).unwrap_err().contains("the same as api-key"));
    }

    #[test]
    fn a_file_holds_the_key_that_only_reads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "only reads\n").unwrap();
        let mut settings = Settings {
            api_key: Some("all".into()),
            api_read_key_file: Some(file.clone()),
            ..Settings::default()
        };
        settings.complete_api_keys().unwrap();
        assert_eq!(settings.api_read_key.as_deref(), Some("only reads"));
        assert!(settings.complete_api_keys().unwrap_err().contains("both set"));
        settings.api_read_key = None;
        std::fs::remove_file(&file).unwrap();
        assert!(settings.complete_api_keys().unwrap_err().starts_with("api-read-key-file: "));
    }
}
