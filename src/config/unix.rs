//! A Unix socket as the public port: its name, and the mode and the owner of its file.

use std::fmt;
use std::fs;
use std::path::PathBuf;

/// The kernel's bound on a path is 107 bytes; the file begins under a name that may be longer.
const PATH_MAX: usize = 98;

/// The kernel's bound on a name without a file.
const NAME_MAX: usize = 107;

/// The name of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnixName {
    /// A file.
    Path(PathBuf),
    /// A name in the network namespace, without a file.
    Abstract(String),
}

impl UnixName {
    /// Returns the reason for which no socket can be there, as far as the folder tells it.
    pub(crate) fn fault(&self) -> Option<String> {
        let Self::Path(path) = self else { return None };
        let folder = path.parent()?;
        let why = match fs::metadata(folder) {
            Ok(found) if found.is_dir() => return None,
            Ok(_) => "is no folder".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(format!("cannot listen on {self}: {}: {why}", folder.display()))
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(out, "unix:{}", path.display()),
            Self::Abstract(name) => write!(out, "unix:@{name}"),
        }
    }
}

/// Who owns the file; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// Reads what stands behind `unix:`.
pub(super) fn name(text: &str) -> Result<UnixName, String> {
    let longer = |max: usize| format!("the name of a Unix socket is longer than {max} bytes");
    match text.strip_prefix('@') {
        Some("") => Err("\"unix:@\" lacks a name".into()),
        Some(name) if name.len() > NAME_MAX => Err(longer(NAME_MAX)),
        Some(name) => Ok(UnixName::Abstract(name.into())),
        None if !text.starts_with('/') => Err(format!(
            "\"unix:{text}\" is neither a whole path such as unix:/run/stentor.sock nor unix:@NAME"
        )),
        None if text.ends_with('/') => Err(format!("\"unix:{text}\" names a folder")),
        None if text.len() > PATH_MAX => Err(longer(PATH_MAX)),
        None => Ok(UnixName::Path(text.into())),
    }
}

/// Reads a mode such as 0660. Without the zero in front it could be meant as a decimal number, as
/// `0o660` in the file of settings is.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no mode such as 0660, in quotes where it stands in a file");
    let digits = text.strip_prefix('0').filter(|digits| digits.len() == 3).ok_or_else(wrong)?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    u32::from_str_radix(digits, 8).map_err(|_| wrong())
}

/// Reads `user`, `user:group` or `:group`, each a number or a name that this host's files list.
pub(super) fn owner(text: &str) -> Result<Option<Owner>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let user = number(user, "/etc/passwd")?;
    let group = number(group, "/etc/group")?;
    if user.is_none() && group.is_none() {
        return Err(format!("{text:?} is neither user, user:group nor :group"));
    }
    Ok(Some(Owner { text: text.into(), user, group }))
}

fn number(name: &str, file: &str) -> Result<Option<u32>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let listed = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let found = listed.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    found.map(Some).ok_or_else(|| format!("{file} does not list {name:?}; a number does as well"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_are_read_and_shown_alike() {
        assert_eq!(name("/run/s.sock"), Ok(UnixName::Path("/run/s.sock".into())));
        assert_eq!(name("@stentor"), Ok(UnixName::Abstract("stentor".into())));
        for text in ["/run/s.sock", "@stentor", "@a/b c"] {
            assert_eq!(name(text).unwrap().to_string(), format!("unix:{text}"));
        }
        assert!(name(&format!("/{}", "x".repeat(97))).is_ok());
        assert!(name(&format!("@{}", "x".repeat(107))).is_ok());
        for (text, part) in [
            ("", "a whole path"),
            ("run/s.sock", "a whole path"),
            ("@", "lacks a name"),
            ("/run/", "names a folder"),
            (&format!("/{}", "x".repeat(98)), "longer than 98"),
            (&format!("@{}", "x".repeat(108)), "longer than 107"),
        ] {
            let why = name(text).unwrap_err();
            assert!(why.contains(part) && !why.contains('\n'), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_path_needs_its_folder() {
        for (text, part) in [
            ("/none-such/s.sock", "/none-such: No such file"),
            ("/etc/passwd/s.sock", "/etc/passwd: is no folder"),
        ] {
            let why = name(text).unwrap().fault().unwrap();
            assert!(why.contains(part) && why.contains(text), "{why}");
        }
        assert_eq!(name("/tmp/s.sock").unwrap().fault(), None);
        assert_eq!(name("@none-such/s").unwrap().fault(), None);
    }

    #[test]
    fn a_mode_is_octal_and_says_so() {
        assert_eq!((mode("0660"), mode("0000"), mode("0777")), (Ok(0o660), Ok(0), Ok(0o777)));
        for text in ["", "660", "432", "0680", "00660", "066", "0o660", "0+66", "rw"] {
            assert!(mode(text).unwrap_err().contains("no mode such as 0660"), "{text}");
        }
    }

    #[test]
    fn an_owner_is_a_name_or_a_number() {
        let ids = |text: &str| owner(text).unwrap().map(|owner| (owner.user, owner.group));
        assert_eq!(ids(""), None);
        assert_eq!(ids("root"), Some((Some(0), None)));
        assert_eq!(ids("12:root"), Some((Some(12), Some(0))));
        assert_eq!(ids(":34"), Some((None, Some(34))));
        assert!(owner(":").unwrap_err().contains("is neither user"));
        assert!(owner("nobody-such").unwrap_err().contains("/etc/passwd does not list"));
        assert!(owner("root:nobody-such").unwrap_err().contains("/etc/group does not list"));
    }
}
