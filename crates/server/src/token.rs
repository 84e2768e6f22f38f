//! The token that clients show.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rand::RngExt as _;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Deserializer, de};

/// Shortest token that may be set by hand.
const MIN_LEN: usize = 20;
/// Length of generated ones: 43 letters and digits are 256 bits.
const GENERATED_LEN: usize = 43;

/// A secret text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new random token: letters and digits only, so that it can stand on a command line
    /// and in a URL as it is.
    #[must_use]
    pub fn generate() -> Self {
        Self(
            rand::rng()
                .sample_iter(Alphanumeric)
                .take(GENERATED_LEN)
                .map(char::from)
                .collect(),
        )
    }

    /// A token set by hand.
    ///
    /// # Errors
    /// When it is too short or has other than visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("the token may have visible ASCII characters only, and no space".into());
        }
        if text.len() < MIN_LEN {
            return Err(format!("the token must have at least {MIN_LEN} characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text. Must not get into a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Reads the token that `path` keeps; `None` when there is none (yet).
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Self::parse(&text)
                .map(Some)
                .map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The token that `path` keeps, made at the first call. Tells whether it was made now.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn read_or_create(path: &Path) -> io::Result<(Self, bool)> {
        if let Some(token) = Self::read(path)? {
            // Whoever can read the token can act as its owner.
            if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
            }
            return Ok((token, false));
        }
        let token = Self::generate();
        let draft = path.with_extension("new");
        match fs::remove_file(&draft) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(file, "{}", token.reveal())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok((token, true))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_only_the_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert_eq!(Token::read(&path).unwrap(), None);
        let (token, new) = Token::read_or_create(&path).unwrap();
        assert!(new && token.reveal().len() == GENERATED_LEN);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            Token::read_or_create(&path).unwrap(),
            (token.clone(), false)
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        // What a crash in the first start may leave behind.
        fs::write(&path, "").unwrap();
        fs::write(path.with_extension("new"), "half").unwrap();
        let (other, new) = Token::read_or_create(&path).unwrap();
        assert!(new && other != token);
    }

    #[test]
    fn debug_does_not_tell_it() {
        let token = Token::generate();
        assert!(!format!("{token:?}").contains(token.reveal()));
    }
}
