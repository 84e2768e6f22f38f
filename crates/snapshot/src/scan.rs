//! Looking at files without following anything and without waiting for anybody.

use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use gix_hash::ObjectId;
use gix_index::entry::{Stat, stat::Time};
use gix_object::{Kind, encode::loose_header};
use rustix::fs::OFlags;
use sessiond_model::FileState;

use crate::{
    SnapshotError,
    objects::{HASH, blob_id},
};

/// A symbolic link, as git writes it.
pub(crate) const LINK: u32 = 0o120_000;
/// A regular file, as git writes it, without its permissions.
pub(crate) const FILE: u32 = 0o100_000;

/// What is at a path.
pub(crate) enum Found {
    /// A file or link.
    File(Seen),
    /// Nothing, or a directory.
    Absent,
    /// A pipe, socket or device.
    Special,
}

/// A file or link as `lstat` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Kind and permissions, as in [`FileState::mode`].
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) stat: Stat,
}

impl Seen {
    fn of(meta: &Metadata) -> Option<Self> {
        let mode = if meta.is_symlink() {
            LINK
        } else if meta.is_file() {
            FILE | (meta.mode() & 0o777)
        } else {
            return None;
        };
        Some(Self {
            mode,
            size: meta.size(),
            stat: stat(meta),
        })
    }
}

/// What is at a path now.
pub(crate) fn look(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(Found::Absent),
        Ok(meta) => Ok(Seen::of(&meta).map_or(Found::Special, Found::File)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Found::Absent),
            _ => Err(error),
        },
    }
}

/// A file and its content, the look taken before the content, so that whatever is written in
/// between is noticed the next time.
pub(crate) enum Content {
    Read(Seen, Vec<u8>),
    /// It has more bytes than asked for.
    TooLarge(u64),
    Absent,
    Special,
}

/// Reads at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Content> {
    let seen = match look(path)? {
        Found::File(seen) => seen,
        Found::Absent => return Ok(Content::Absent),
        Found::Special => return Ok(Content::Special),
    };
    if seen.mode == LINK {
        let target = fs::read_link(path)?.into_os_string().into_vec();
        return Ok(Content::Read(seen, target));
    }
    if seen.size > limit {
        return Ok(Content::TooLarge(seen.size));
    }
    let (seen, file) = match open(path)? {
        Some(open) => open,
        None => return Ok(Content::Special),
    };
    let mut bytes = Vec::with_capacity(usize::try_from(seen.size).unwrap_or(0));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Ok(Content::TooLarge(bytes.len() as u64));
    }
    Ok(Content::Read(seen, bytes))
}

/// The state of a file of any size.
pub(crate) fn state(path: &Path) -> Result<Option<FileState>, SnapshotError> {
    let io = || SnapshotError::io("read", path);
    let (seen, id) = match read(path, 1 << 20).map_err(io())? {
        Content::Read(seen, bytes) => (seen, blob_id(&bytes)?),
        Content::Absent => return Ok(None),
        Content::Special => return Err(io()(io::ErrorKind::InvalidInput.into())),
        Content::TooLarge(_) => {
            let Some((seen, mut file)) = open(path).map_err(io())? else {
                return Ok(None);
            };
            let mut hasher = gix_hash::hasher(HASH);
            hasher.update(&loose_header(Kind::Blob, seen.size));
            let mut left = seen.size;
            let mut buffer = vec![0; 1 << 16];
            while left > 0 {
                let n = file.read(&mut buffer).map_err(io())?;
                if n == 0 || n as u64 > left {
                    // It is being written; whoever asks compares it with something finished.
                    break;
                }
                hasher.update(&buffer[..n]);
                left -= n as u64;
            }
            let id = hasher
                .try_finalize()
                .map_err(SnapshotError::objects("hash a file"))?;
            (seen, id)
        }
    };
    Ok(Some(file_state(seen.mode, &id)))
}

/// Opens a regular file; `None` when it is something else by now.
fn open(path: &Path) -> io::Result<Option<(Seen, fs::File)>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    Ok(Seen::of(&file.metadata()?).map(|seen| (seen, file)))
}

/// A state as the model writes it.
pub(crate) fn file_state(mode: u32, id: &ObjectId) -> FileState {
    FileState {
        mode: format!("{mode:06o}"),
        oid: id.to_string(),
    }
}

fn stat(meta: &Metadata) -> Stat {
    // The index has 32 bits for each; what is cut off is only ever compared with itself.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let time = |secs: i64, nanos: i64| Time {
        secs: secs as u32,
        nsecs: nanos as u32,
    };
    #[expect(clippy::cast_possible_truncation)]
    let low = |value: u64| value as u32;
    Stat {
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        ctime: time(meta.ctime(), meta.ctime_nsec()),
        dev: low(meta.dev()),
        ino: low(meta.ino()),
        uid: meta.uid(),
        gid: meta.gid(),
        size: low(meta.size()),
    }
}
