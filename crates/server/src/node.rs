//! What this process is among others that share a database.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use rand::RngExt as _;
use rand::distr::Alphanumeric;
use sessiond_store::{StoreError, UnavailableReason};

/// File in the data directory: what tells this node from others of the same host, and the process
/// that is it now.
const FILE: &str = "node";
/// Letters of it: enough for the nodes of one host.
const LETTERS: usize = 6;

/// The data directory of a node, while its process lives: no other process is this node.
#[derive(Debug)]
pub(crate) struct NodeSeat {
    /// Held for its lock.
    _file: File,
    name: String,
}

impl NodeSeat {
    /// Takes the data directory, which must be there; `name` is the configured name.
    pub(crate) fn take(data_dir: &Path, name: Option<&str>) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fault)?;
        let mut text = String::new();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let _ = file.read_to_string(&mut text);
                let pid = text.split_whitespace().nth(1).and_then(|p| p.parse().ok());
                return Err(StoreError::Locked {
                    path: data_dir.to_owned(),
                    pid: pid.unwrap_or(0),
                    url: None,
                });
            }
            Err(TryLockError::Error(e)) => return Err(fault(e)),
        }
        file.read_to_string(&mut text).map_err(fault)?;
        let known = text
            .split_whitespace()
            .next()
            .filter(|id| id.len() == LETTERS);
        let id = known.map_or_else(fresh, str::to_owned);
        file.rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| writeln!(file, "{id} {}", std::process::id()))
            .and_then(|()| file.sync_data())
            .map_err(fault)?;
        let name = name.map_or_else(|| format!("{}-{id}", host_name()), str::to_owned);
        Ok(Self { _file: file, name })
    }

    /// The node's name, the same after a restart.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

fn fresh() -> String {
    let letters = rand::rng().sample_iter(Alphanumeric).take(LETTERS);
    letters.map(char::from).collect::<String>().to_lowercase()
}

fn fault(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull => StoreError::Unavailable {
            reason: UnavailableReason::DiskFull,
        },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::Unavailable {
                reason: UnavailableReason::ReadOnly,
            }
        }
        _ => StoreError::Internal {
            operation: "take the data directory",
            source: error.into(),
        },
    }
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// What processes have in common that can see each other: the boot of the machine, and the
/// namespace of process ids. Empty when that is not known.
pub(crate) fn host() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = boot.trim();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if boot.is_empty() {
        return String::new();
    }
    format!("{boot} {}", space.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_and_its_seat() {
        let dir = tempfile::tempdir().unwrap();
        let seat = NodeSeat::take(dir.path(), None).unwrap();
        let name = seat.name().to_owned();
        assert!(name.starts_with(&host_name()));
        match NodeSeat::take(dir.path(), None) {
            Err(StoreError::Locked { pid, .. }) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(seat);
        assert_eq!(NodeSeat::take(dir.path(), None).unwrap().name(), name);
        assert_eq!(NodeSeat::take(dir.path(), Some("x")).unwrap().name(), "x");
        let other = tempfile::tempdir().unwrap();
        assert_ne!(NodeSeat::take(other.path(), None).unwrap().name(), name);
    }
}
