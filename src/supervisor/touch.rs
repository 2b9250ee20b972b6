//! Files that mean a reload when they are touched, by the kernel's own word (inotify(7)).

use std::{
    ffi::OsStr,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::inotify;
use tracing::{info, warn};

/// The files, and what each looked like last.
pub(super) struct Touch {
    inotify: OwnedFd,
    files: Vec<File>,
}

struct File {
    path: PathBuf,
    looks: Option<Looks>,
}

/// What changes when a file is written, replaced or touched.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Looks {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

impl Touch {
    /// Watches over `paths`, which need not exist yet; their directories must.
    ///
    /// # Errors
    /// The first directory that cannot be watched.
    pub(super) fn watch(paths: &[PathBuf]) -> io::Result<Option<Self>> {
        if paths.is_empty() {
            return Ok(None);
        }
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        for path in paths {
            // The directory, because a file that is replaced takes its watch along.
            let directory = path.parent().unwrap_or_else(|| Path::new("/"));
            let events = inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ATTRIB;
            inotify::add_watch(&inotify, directory, events)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display())))?;
        }
        let files = paths.iter().map(|path| File { path: path.clone(), looks: looks(path) }).collect();
        Ok(Some(Self { inotify, files }))
    }

    /// Reads what the kernel has to say; tells whether one of the files has been touched since the last time.
    pub(super) fn has_changed(&mut self) -> bool {
        if !self.is_concerned() {
            return false;
        }
        let mut touched = None;
        for file in &mut self.files {
            // One touch is several events.
            let looks = looks(&file.path);
            if looks.is_some() && looks != file.looks {
                touched = Some(&file.path);
            }
            file.looks = looks;
        }
        if let Some(path) = touched {
            info!("{} was touched", path.display());
        }
        touched.is_some()
    }

    /// Whether any of the events that are there is about one of our files; reads them all.
    fn is_concerned(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut is_concerned = false;
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let is_lost = event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                    is_concerned |= is_lost || self.files.iter().any(|file| file.path.file_name() == name);
                }
                Err(rustix::io::Errno::AGAIN) => return is_concerned,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    warn!("the files of --reload-on-touch cannot be watched any more ({error}); reload by SIGHUP");
                    return is_concerned;
                }
            }
        }
    }
}

impl AsFd for Touch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn looks(path: &Path) -> Option<Looks> {
    let found = fs::metadata(path).ok()?;
    Some(Looks { inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()), length: found.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_is_noticed_once_and_neighbours_never() {
        let directory = std::env::temp_dir().join(format!("rusgi-touch-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("reload");
        let mut touch = Touch::watch(std::slice::from_ref(&file)).unwrap().unwrap();
        assert!(!touch.has_changed());
        fs::write(directory.join("neighbour"), "x").unwrap();
        assert!(!touch.has_changed());
        fs::write(&file, "x").unwrap();
        assert!(touch.has_changed() && !touch.has_changed());
        fs::rename(directory.join("neighbour"), &file).unwrap();
        assert!(touch.has_changed());
        fs::remove_file(&file).unwrap();
        assert!(!touch.has_changed());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_watched() {
        let error = Touch::watch(&[PathBuf::from("/nowhere/at/all")]).err().unwrap();
        assert!(error.to_string().contains("/nowhere/at"), "{error}");
    }
}
