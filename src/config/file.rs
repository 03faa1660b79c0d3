//! `stentor.toml`: keys as in `--help`, with underscores or dashes. Errors name the line and the
//! column.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::apps::lay_apps;
use super::keys::Key;
use super::tables::{lay_channels, lay_namespaces};
use super::{Invalid, Layered, Source, hint, keys};

/// A name in a file, and where it stands.
pub(super) type Word<'a> = Spanned<Cow<'a, str>>;

/// A value in a file, and where it stands.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// The most bytes that such a file may hold.
const BYTES_MAX: u64 = 1 << 20;

/// The time without a byte after which a pipe is given up.
const PIPE_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// Lays a file over the settings.
pub(crate) fn read(path: &Path, layered: &mut Layered) -> Result<(), Invalid> {
    let text = text_in(path, BYTES_MAX)
        .map_err(|error| Invalid(format!("{}: {error}", path.display())))?;
    let place = |at| {
        let (line, column) = position(&text, at);
        format!("{}:{line}:{column}", path.display())
    };
    lay(&text, &place, layered).map_err(|(at, why)| Invalid(format!("{}: {why}", place(at))))
}

/// Reads a file that may be a device, which never ends, or a pipe that nobody writes to: an error
/// behind so many bytes, or if nothing comes for some seconds.
pub(crate) fn bytes_in(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8 << 10]);
    loop {
        // A pipe that no writer has opened so far can be read, and seems to be at its end.
        let mut ready = [PollFd::new(&file, PollFlags::IN)];
        let patience = Timespec::try_from(PIPE_PATIENCE).map_err(io::Error::other)?;
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut ready, Some(&patience)))? == 0 {
            let seconds = PIPE_PATIENCE.as_secs();
            return Err(io::Error::other(format!("nothing came out of it for {seconds} s")));
        }
        let count = match file.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => continue,
            Err(error) => return Err(error),
        };
        bytes.extend_from_slice(&buffer[..count]);
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::other(format!("it is longer than {bytes_max} bytes")));
        }
        if count == 0 {
            return Ok(bytes);
        }
    }
}

/// Reads such a file as text.
pub(crate) fn text_in(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(bytes_in(path, bytes_max)?).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")
    })
}

/// A fault, and the byte at which it stands.
pub(super) type Fault = (usize, String);

/// Lays the text of a file over the settings; `place` says where a byte of it stands.
pub(super) fn lay(
    text: &str,
    place: &dyn Fn(usize) -> String,
    layered: &mut Layered,
) -> Result<(), Fault> {
    let table = DeTable::parse(text).map_err(|error| {
        (error.span().map_or(0, |span| span.start), joined_lines(error.message()))
    })?;
    for (name, value) in table.get_ref() {
        let at = value.span().start;
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("channels", DeValue::Table(table)) => lay_channels(table, layered)?,
            ("channels", _) => {
                return Err((at, "channels is a table: write [channels] above its keys".into()));
            }
            ("namespace", DeValue::Array(list)) => lay_namespaces(list, place, layered)?,
            ("namespace", _) => {
                let why = "a namespace is one of several: write [[namespace]], in two brackets";
                return Err((at, why.into()));
            }
            ("app", DeValue::Array(list)) => lay_apps(list, place, layered)?,
            ("app", _) => {
                return Err((
                    at,
                    "an app is one of several: write [[app]], in two brackets".into(),
                ));
            }
            _ => lay_key(name, value, layered)?,
        }
    }
    Ok(())
}

/// Takes a key that stands above all tables.
fn lay_key(name: &Word<'_>, value: &Value<'_>, layered: &mut Layered) -> Result<(), Fault> {
    let wanted = name.get_ref().replace('_', "-");
    let Some(key) = keys::find(&wanted) else {
        let table = ["channels", "namespace", "app"].into_iter().find(|table| {
            // A plural or a letter off.
            strsim::osa_distance(table, &wanted) <= (table.len() / 3).min(2)
        });
        let near = table.map(str::to_owned);
        let near = near.or_else(|| keys::nearest(&wanted).map(|key| key.name.replace('-', "_")));
        let why = format!("unknown key {:?}{}", name.get_ref(), hint(&near.unwrap_or_default()));
        return Err((name.span().start, why));
    };
    set(key, name, value, layered)
}

/// Sets a key that a file sets once.
pub(super) fn set(
    key: &'static Key,
    name: &Word<'_>,
    value: &Value<'_>,
    layered: &mut Layered,
) -> Result<(), Fault> {
    if layered.source(key) == Source::File {
        return Err((name.span().start, format!("{} is set twice in this file", key.name)));
    }
    let at = value.span().start;
    let text = text_of(value.get_ref()).map_err(|why| (at, format!("{}: {why}", key.name)))?;
    layered.set(key, &text, Source::File).map_err(|why| (at, why))
}

/// A value as a flag would have it.
pub(super) fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Boolean(switch) => Ok(switch.to_string()),
        DeValue::Array(list) => {
            let parts: Result<Vec<_>, _> =
                list.iter().map(|part| text_of(part.get_ref())).collect();
            Ok(parts?.join(","))
        }
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Datetime(_) | DeValue::Table(_) => {
            Err("not a text, a number, true or false, or a list of these".into())
        }
    }
}

/// Joins the lines of a message of the parser.
fn joined_lines(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

/// The file of settings: the flag's, the variable's, or `stentor.toml` in the directory that the
/// service manager names. An empty variable is none.
pub(crate) fn find(flag: Option<&PathBuf>) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|path: &OsString| !path.is_empty());
    let named = || variable("STENTOR_CONFIG").map(PathBuf::from);
    let managed = || {
        let folders = variable("CONFIGURATION_DIRECTORY")?;
        let mut files = std::env::split_paths(&folders).map(|folder| folder.join("stentor.toml"));
        files.find(|file| file.try_exists().unwrap_or(true))
    };
    flag.cloned().or_else(named).or_else(managed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay_text(text: &str, layered: &mut Layered) -> Result<(), Fault> {
        let place = |at| format!("line {}", position(text, at).0);
        lay(text, &place, layered)
    }

    fn error(text: &str) -> String {
        let (at, why) = lay_text(text, &mut Layered::default()).unwrap_err();
        let (line, column) = position(text, at);
        format!("{line}:{column}: {why}")
    }

    #[test]
    fn values_of_every_kind() {
        let mut layered = Layered::default();
        let text = "listen = '127.0.0.1:8000'\nping_interval = \"3s\"\ntext-ping = false\n\
                    max-clients = 5\npong_timeout = 2.5\ncores = [0, 1]\nadmin = 'off'\n";
        lay_text(text, &mut layered).unwrap();
        assert_eq!(layered.settings.shards.listen.port(), 8000);
        assert_eq!(layered.settings.cores, [0, 1]);
        assert!(!layered.settings.shards.text_ping && layered.settings.admin.is_none());
        assert_eq!(layered.settings.shards.clients, 5);
        assert_eq!(layered.settings.shards.pong_timeout.as_millis(), 2500);
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let Invalid(why) = read(Path::new("/dev/zero"), &mut Layered::default()).unwrap_err();
        assert_eq!(why, "/dev/zero: it is longer than 1048576 bytes");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_given_up_without_a_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let why = bytes_in(&path, 100).unwrap_err().to_string();
        assert_eq!(why, "nothing came out of it for 1 s");
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "of a generator").unwrap()
        });
        assert_eq!(bytes_in(&path, 100).unwrap(), b"of a generator");
        writer.join().unwrap();
    }

    #[test]
    fn mistakes_stand_with_line_and_column() {
        assert_eq!(
            error("\n  ping_intervall = '3s'"),
            "2:3: unknown key \"ping_intervall\"; did you mean ping_interval?"
        );
        assert_eq!(
            error("pong_timeout = '3 parsecs'"),
            "1:16: pong-timeout: \"3 parsecs\" is not a time such as 25s, 1m30s or 250ms"
        );
        assert!(
            error("max_clients = 1.5").starts_with("1:15: max-clients: \"1.5\" is not a count")
        );
        assert!(error("max_clients = {}").starts_with("1:15: max-clients: not a text"));
        assert!(error("listen = 'x'\nlisten = 'y'").starts_with("2:1: duplicate key"));
        assert!(error("= 5").starts_with("1:1: "));
    }
}
