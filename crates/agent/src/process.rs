//! Process groups and the identity of processes.
//!
//! A pid alone names nobody for long. A process is ours when its pid *and* start time are the
//! recorded ones, when it is in the group of such a process, or when its environment carries
//! our spawn id, which every descendant inherits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable that marks an agent and everything it starts.
pub(crate) const MARKER: &str = "SESSIOND_SPAWN_ID";

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
    /// Some did not go.
    Left {
        /// Their pids.
        pids: Vec<u32>,
    },
}

/// A process as the operating system lists it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    pid: u32,
    group: u32,
    started: u64,
    zombie: bool,
}

impl ProcessId {
    /// The identity of a child that was just started and not yet waited for.
    pub(crate) fn of_child(pid: u32, spawn_id: String) -> Self {
        Self {
            pid,
            started: system::one(pid).map_or(0, |p| p.started),
            spawn_id,
        }
    }

    /// Whether the leader is still there (be it as a zombie), so that its pid and its group
    /// can't mean anybody else.
    fn leader_is_ours(&self) -> bool {
        self.started != 0 && system::one(self.pid).is_some_and(|p| p.started == self.started)
    }

    /// The live processes that are provably ours.
    pub(crate) fn members(&self) -> Vec<u32> {
        let own_group = self.leader_is_ours();
        let me = std::process::id();
        system::all()
            .into_iter()
            .filter(|p| !p.zombie && p.pid != me)
            .filter(|p| {
                (own_group && p.group == self.pid) || system::is_marked(p.pid, &self.spawn_id)
            })
            .map(|p| p.pid)
            .collect()
    }

    /// Sends a signal to the group, as long as it is provably ours.
    pub(crate) fn signal_group(&self, signal: Signal) {
        if let (true, Some(pid)) = (self.leader_is_ours(), as_pid(self.pid)) {
            // It may be gone by now, which is what was wanted.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// SIGKILL to the group and to every marked process elsewhere, until none is left; says
    /// how many there were, and who did not go within half a second.
    pub(crate) fn kill_all(&self) -> (usize, Vec<u32>) {
        let mut seen = BTreeSet::new();
        let mut empty_scans = 0;
        let until = Instant::now() + Duration::from_millis(500);
        loop {
            let members = self.members();
            seen.extend(members.iter().copied());
            // A process shows no environment at the instant of its `exec`, so that one scan
            // may miss it: what was there is gone only when two scans in a row say so.
            empty_scans = if members.is_empty() {
                empty_scans + 1
            } else {
                0
            };
            if empty_scans == 2 || Instant::now() >= until {
                return (seen.len(), members);
            }
            self.signal_group(Signal::KILL);
            for pid in members.iter().filter_map(|pid| as_pid(*pid)) {
                // It may be gone by now, which is what was wanted.
                let _ = kill_process(pid, Signal::KILL);
            }
            // A killed process stays listed until the system has taken it down.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn as_pid(pid: u32) -> Option<Pid> {
    // 0 and 1 would address our own group or init.
    i32::try_from(pid)
        .ok()
        .filter(|p| *p > 1)
        .and_then(Pid::from_raw)
}

/// Ends what is left of an agent that an earlier run had started. Only processes whose
/// identity is proved are touched: the recorded pid with the recorded start time, its group,
/// and any process with our marker in its environment. Blocks for up to half a second.
#[must_use]
pub fn reap_orphan(pid: u32, started: u64, spawn_id: &str) -> Reaped {
    let id = ProcessId {
        pid,
        started,
        spawn_id: spawn_id.to_owned(),
    };
    match id.kill_all() {
        (0, _) => Reaped::Gone,
        (processes, left) if left.is_empty() => Reaped::Killed { processes },
        (_, pids) => Reaped::Left { pids },
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Listed, MARKER};

    /// Reads `/proc/PID/stat`. The name in it may hold spaces and brackets, so fields are
    /// counted from its last bracket.
    pub(super) fn one(pid: u32) -> Option<Listed> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Listed {
            pid,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
        })
    }

    pub(super) fn all() -> Vec<Listed> {
        std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(one)
            .collect()
    }

    pub(super) fn is_marked(pid: u32, spawn_id: &str) -> bool {
        if spawn_id.is_empty() {
            return false;
        }
        let wanted = format!("{MARKER}={spawn_id}");
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| env.split(|b| *b == 0).any(|v| v == wanted.as_bytes()))
    }
}

/// Without `/proc`, `ps` gives groups and start times; the environment stays unread, so that
/// a descendant in another group is not found.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::process::Command;

    use super::Listed;

    fn list(selection: &[&str]) -> Vec<Listed> {
        let output = Command::new("ps")
            .args(selection)
            .args(["-o", "pid=,pgid=,stat=,lstart="])
            .output();
        let Ok(output) = output else {
            return Vec::new();
        };
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                Some(Listed {
                    pid: fields.next()?.parse().ok()?,
                    group: fields.next()?.parse().ok()?,
                    zombie: fields.next()?.starts_with('Z'),
                    started: fields.fold(7, |hash: u64, word| {
                        word.bytes()
                            .fold(hash, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
                    }),
                })
            })
            .collect()
    }

    pub(super) fn one(pid: u32) -> Option<Listed> {
        list(&["-p", &pid.to_string()]).pop()
    }

    pub(super) fn all() -> Vec<Listed> {
        list(&["-A"])
    }

    pub(super) fn is_marked(_pid: u32, _spawn_id: &str) -> bool {
        false
    }
}
