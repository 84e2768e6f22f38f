//! The check of the whole database after an unclean stop, beside the work.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use rusqlite::InterruptHandle;
use sessiond_store::StoreResult;

use crate::conn::{Conn, io_fault};
use crate::incidents::Incidents;
use crate::open::open_reader;
use crate::writer::Job;

/// A check that runs, or has run.
pub(crate) struct Check {
    interrupt: InterruptHandle,
    thread: JoinHandle<()>,
}

impl Check {
    /// Starts it. What it finds makes the writer heal the database.
    pub(crate) fn start(
        path: &Path,
        incidents: &Arc<Incidents>,
        jobs: SyncSender<Job>,
    ) -> StoreResult<Self> {
        let conn = open_reader(path, incidents)?;
        let interrupt = conn.db.get_interrupt_handle();
        let thread = std::thread::Builder::new()
            .name("store-check".into())
            .spawn(move || {
                let why = verdict(&conn);
                // Closed first: healing replaces the file.
                drop(conn);
                if let Some(why) = why {
                    // The writer is gone only when the store is closed: then there is the
                    // next start.
                    let _ = jobs.send(Job::Heal(0, why, None));
                }
            })
            .map_err(|e| io_fault("start the check", e))?;
        Ok(Self { interrupt, thread })
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        self.interrupt.interrupt();
        if self.thread.join().is_err() {
            tracing::error!("the store's check panicked");
        }
    }
}

/// What is wrong with the database, if anything.
fn verdict(conn: &Conn) -> Option<String> {
    let check = conn
        .db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match check {
        Ok(verdict) if verdict == "ok" => None,
        Ok(verdict) => Some(verdict),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            Some(error.to_string())
        }
        Err(error) => {
            tracing::info!(%error, "the check of the database did not finish");
            None
        }
    }
}
