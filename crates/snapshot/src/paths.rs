//! Paths as bytes: which ones belong to a worktree, and how they are written down.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

/// The start of the name of every file that is written beside one that is replaced.
pub(crate) const TEMPORARY: &str = ".sessiond-restore-";

/// `path` relative to `directory`, with `/` between its parts. `None` when it is not a file below
/// it, has `..` in it, or is inside a `.git`.
pub(crate) fn relative(directory: &Path, path: &Path) -> Option<Vec<u8>> {
    let inner = if path.is_absolute() {
        path.strip_prefix(directory).ok()?
    } else {
        path
    };
    let mut parts = Vec::new();
    for component in inner.components() {
        match component {
            Component::Normal(name) if !is_dot_git(name.as_bytes()) => parts.push(name.as_bytes()),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

/// Whether a name is git's own, on file systems that ignore case too.
pub(crate) fn is_dot_git(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b".git")
}

/// The absolute path of a relative one.
pub(crate) fn absolute(directory: &Path, relative: &[u8]) -> PathBuf {
    directory.join(OsStr::from_bytes(relative))
}

/// Whether a name is that of our own temporary file.
pub(crate) fn is_temporary(path: &[u8]) -> bool {
    path.rsplit(|&b| b == b'/')
        .next()
        .is_some_and(|name| name.starts_with(TEMPORARY.as_bytes()))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// What [`hex`] wrote.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Whether `path` is `entry` or below it; entries may end in `/`.
pub(crate) fn covers(entry: &[u8], path: &[u8]) -> bool {
    let entry = entry.strip_suffix(b"/").unwrap_or(entry);
    path.strip_prefix(entry)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}
