//! Unix sockets: the file at the path, who may have left it there, and who may connect to it.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, Gid, Mode, Uid, chmod, chown, flock},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket_with},
};

use crate::{
    config::{Listen, Owner},
    net::listener::{BindError, FLAGS, Listener, refusal},
};

/// Binds and listens at `path`, which is printed as `address`.
pub(super) fn bind_unix(path: &Path, address: &str, settings: &Listen) -> Result<Listener, BindError> {
    let refused = |action| move |errno: Errno| refusal(address, action, errno);
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None).map_err(refused("make a socket"))?;
    let name = SocketAddrUnix::new(path).map_err(refused("use the path"))?;
    // Held until we listen: a rival that starts meanwhile must not take our bound socket for a dead one.
    let _guard = lock_directory(path);
    clear(path, &name, address)?;
    bind(&socket, &name).map_err(refused("bind"))?;
    let file = SocketFile::at(path).map_err(|source| BindError::Unknown { address: address.to_owned(), source })?;
    match open_to_peers(&socket, path, settings) {
        Ok(()) => Ok(Listener { socket, address: address.to_owned(), file: Some(file), guard: None, is_ours: true }),
        Err((action, errno)) => {
            // The error we report is the first one.
            let _remains = file.remove();
            Err(refusal(address, action, errno))
        }
    }
}

/// Nobody can connect before `listen`, so mode and owner are in place for the first who does.
fn open_to_peers(socket: &OwnedFd, path: &Path, settings: &Listen) -> Result<(), (&'static str, Errno)> {
    if let Some(Owner { user, group }) = settings.socket_owner {
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        chown(path, user, group).map_err(|errno| ("give the socket to its owner", errno))?;
    }
    chmod(path, Mode::from_raw_mode(settings.socket_mode)).map_err(|errno| ("set the socket's mode", errno))?;
    listen(socket, settings.backlog).map_err(|errno| ("listen", errno))
}

/// Keeps two servers that start at once from replacing each other; without it, as in a directory that cannot be read, they may.
fn lock_directory(path: &Path) -> Option<fs::File> {
    let directory = fs::File::open(path.parent()?).ok()?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    while flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > give_up {
            return None;
        }
        thread::sleep(LOCK_INTERVAL);
    }
    Some(directory)
}

/// Makes room at `path`: removes a socket that nobody listens on, refuses anything else that is there.
fn clear(path: &Path, name: &SocketAddrUnix, address: &str) -> Result<(), BindError> {
    let address = || address.to_owned();
    let unknown = |source| BindError::Unknown { address: address(), source };
    match fs::symlink_metadata(path) {
        // Whatever else is wrong with the path, `bind` says it better.
        Err(_) => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { address: address() });
        }
        Ok(_) => {}
    }
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None).map_err(|e| unknown(e.into()))?;
    match connect(&probe, name) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(unknown),
        Err(Errno::NOENT) => Ok(()),
        // A full listen queue, or a socket of another type: somebody is there.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(BindError::Live { address: address() }),
        Err(errno) => Err(unknown(errno.into())),
    }
}

/// The file of a bound Unix socket, known again by its inode.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Whether it is for us to remove; else it is so for the process that we have the socket from.
    pub(super) is_ours: bool,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino(), is_ours: true })
    }

    /// The file of a socket that another process has bound, and may still remove.
    pub(super) fn of_another(path: &Path, (device, inode): (u64, u64)) -> Self {
        Self { path: path.to_owned(), device, inode, is_ours: false }
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Removes the file, if it is still ours.
    pub(super) fn remove(self) -> io::Result<()> {
        match Self::at(&self.path) {
            Ok(now) if (now.device, now.inode) == (self.device, self.inode) => fs::remove_file(&self.path),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// How long another server may keep us from binding: it holds the lock for a few system calls.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_INTERVAL: Duration = Duration::from_millis(2);
