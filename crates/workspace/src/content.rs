use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;

use crate::work;
use crate::{Result, Root, WorkspaceError};

/// Largest file that is shown, in bytes.
pub const MAX_CONTENT: u64 = 16 << 20;

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text, as it is.
    Text(String),
    /// Anything else.
    Binary(RawFile),
}

/// A file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFile {
    /// By the name of the file: `image/png`.
    pub mime: String,
    /// All of them.
    pub bytes: Vec<u8>,
}

/// The content of a file. Text is what is valid UTF-8 without NUL, and not a picture or the
/// like by its name.
///
/// # Errors
/// `Outside`, `Missing`, `NotAFile`, `TooLarge`; `Io` when it can't be read.
pub async fn content(root: &Root, path: &str) -> Result<Content> {
    let file = raw_file(root, path).await?;
    if is_media(&file.mime) || file.bytes.contains(&0) {
        return Ok(Content::Binary(file));
    }
    Ok(match String::from_utf8(file.bytes) {
        Ok(text) => Content::Text(text),
        Err(e) => Content::Binary(RawFile {
            mime: file.mime,
            bytes: e.into_bytes(),
        }),
    })
}

/// The bytes of a file.
///
/// # Errors
/// As [`content`].
pub async fn raw_file(root: &Root, path: &str) -> Result<RawFile> {
    let (root, path) = (root.clone(), path.to_owned());
    work::blocking(move |_| read(&root, &path)).await
}

fn read(root: &Root, path: &str) -> Result<RawFile> {
    let at = root.resolve(path)?;
    // Looked at before it is opened: a pipe would wait for its writer.
    if !at.is_file() {
        return Err(WorkspaceError::NotAFile(path.into()));
    }
    // Nor may it have become a pipe, or a link, since.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&at)
        .map_err(WorkspaceError::io(path))?;
    let metadata = file.metadata().map_err(WorkspaceError::io(path))?;
    if !metadata.is_file() {
        return Err(WorkspaceError::NotAFile(path.into()));
    }
    let size = metadata.len();
    let too_large = |size| WorkspaceError::TooLarge {
        path: path.into(),
        size,
        limit: MAX_CONTENT,
    };
    if size > MAX_CONTENT {
        return Err(too_large(size));
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(MAX_CONTENT + 1)
        .read_to_end(&mut bytes)
        .map_err(WorkspaceError::io(path))?;
    if bytes.len() as u64 > MAX_CONTENT {
        return Err(too_large(bytes.len() as u64));
    }
    let mime = mime_guess::from_path(&at)
        .first_or_octet_stream()
        .essence_str()
        .to_owned();
    Ok(RawFile { mime, bytes })
}

fn is_media(mime: &str) -> bool {
    let media = ["image/", "audio/", "video/", "font/"];
    (media.iter().any(|m| mime.starts_with(m))
        && mime != "image/svg+xml"
        && mime != "video/vnd.dlna.mpeg-tts")
        || mime == "application/pdf"
}
