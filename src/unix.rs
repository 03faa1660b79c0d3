//! The public port on a Unix socket. Its file appears only when somebody listens there, with its
//! mode and owner.

use std::fs::{self, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::config::{Settings, UnixName};

/// How often the place is tried while other processes put files there and take them away.
const TRIES_MAX: usize = 10;

/// The file that this process listens at; it is removed at the end, unless it is another's by then.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        if file_at(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_at(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Listens at a name. Returns the socket, and the file if there is one.
///
/// # Errors
/// Somebody listens there, something that is no socket is there, or what the kernel says.
pub(crate) fn listen(name: &UnixName, settings: &Settings) -> io::Result<(OwnedFd, Option<Place>)> {
    let socket = socket()?;
    let backlog = i32::try_from(settings.shards.backlog).unwrap_or(i32::MAX);
    match name {
        UnixName::Abstract(name) => {
            rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
            rustix::net::listen(&socket, backlog)?;
            Ok((socket, None))
        }
        UnixName::Path(path) => {
            let fresh = beside(path, "");
            bind(&socket, &fresh, settings.unix_mode)?;
            let put = furnish(&fresh, settings)
                .and_then(|()| Ok(rustix::net::listen(&socket, backlog)?))
                .and_then(|()| put(&fresh, path));
            let file = file_at(&fresh);
            let _ = fs::remove_file(&fresh);
            put?;
            Ok((socket, Some(Place { path: path.clone(), file: file? })))
        }
    }
}

/// A short name in the same folder that nobody else uses: containers that share a folder may share
/// process numbers too.
fn beside(path: &Path, mark: &str) -> PathBuf {
    let salt = RandomState::new().hash_one(std::process::id()) & 0xff_ffff;
    path.with_file_name(format!(".{salt:06x}{mark}"))
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Binds with the wanted mode, or a narrower one, from the first moment on.
fn bind(socket: &OwnedFd, path: &Path, mode: u32) -> io::Result<()> {
    rustix::fs::fchmod(socket, Mode::from_raw_mode(mode))?;
    Ok(rustix::net::bind(socket, &SocketAddrUnix::new(path)?)?)
}

fn furnish(path: &Path, settings: &Settings) -> io::Result<()> {
    if let Some(owner) = &settings.unix_owner {
        std::os::unix::fs::chown(path, owner.user, owner.group)
            .map_err(|error| with_text(&error, &format!("unix-owner {}", owner.text)))?;
    }
    fs::set_permissions(path, Permissions::from_mode(settings.unix_mode))
}

fn with_text(error: &io::Error, text: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{text}: {error}"))
}

/// Gives a socket that listens its name. A file with that name at which nobody listens goes.
fn put(fresh: &Path, path: &Path) -> io::Result<()> {
    for _ in 0..TRIES_MAX {
        // Unlike a rename, a link never replaces the file of a process that has just started.
        match fs::hard_link(fresh, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => make_room(path)?,
            done => return done,
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn make_room(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other("a file that is no socket is there"));
    }
    if is_live(path)? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    // Another process may have put its own socket there since: it is looked at once more, where
    // nobody else takes it away.
    let aside = beside(path, "~");
    match fs::rename(path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    let is_live = is_live(&aside)?;
    let put_back = if is_live { fs::hard_link(&aside, path) } else { Ok(()) };
    fs::remove_file(&aside)?;
    put_back?;
    if is_live { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) }
}

/// Returns `true` if somebody listens at a socket's file.
fn is_live(path: &Path) -> io::Result<bool> {
    match rustix::net::connect(socket()?, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        // A full queue, or a socket of another kind, is somebody's.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
