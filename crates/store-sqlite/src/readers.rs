//! The pool of readers.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use sessiond_model::SessionId;
use sessiond_store::StoreResult;

use crate::conn::Conn;
use crate::incidents::Incidents;
use crate::open::open_reader;

/// Readers kept open.
const KEPT: usize = 4;

/// Connections that only read. Each serves one read at a time.
pub(crate) struct Readers {
    path: PathBuf,
    incidents: Arc<Incidents>,
    idle: Mutex<Vec<Conn>>,
    /// Held by every read; alone by who replaces the database.
    gate: RwLock<()>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, incidents: Arc<Incidents>) -> Self {
        Self {
            path,
            incidents,
            idle: Mutex::default(),
            gate: RwLock::default(),
        }
    }

    /// Reads with some connection; also gives the sessions whose rows could not be read.
    pub(crate) fn read<R>(
        &self,
        read: impl FnOnce(&mut Conn) -> StoreResult<R>,
    ) -> (StoreResult<R>, Vec<SessionId>) {
        let _open = self.gate.read();
        let idle = self.idle.lock().pop();
        let conn = idle.map_or_else(|| open_reader(&self.path, &self.incidents), Ok);
        let mut conn = match conn {
            Ok(conn) => conn,
            Err(error) => return (Err(error), Vec::new()),
        };
        let result = read(&mut conn);
        let damaged = std::mem::take(&mut conn.damaged);
        // A connection whose transaction did not end is not used again.
        if conn.db.is_autocommit() {
            let mut idle = self.idle.lock();
            if idle.len() < KEPT {
                idle.push(conn);
            }
        }
        (result, damaged)
    }

    /// Closes all, and lets no read begin as long as the guard is held.
    pub(crate) fn shut_out(&self) -> RwLockWriteGuard<'_, ()> {
        let alone = self.gate.write();
        self.idle.lock().clear();
        alone
    }
}
