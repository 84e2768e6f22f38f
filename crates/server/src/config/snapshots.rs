//! `[snapshots]`: what is captured of worktrees.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, Period, Size};

/// What is captured of worktrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Whether anything is.
    pub enabled: bool,
    /// Larger files are left out, in bytes.
    pub file_size: u64,
    /// What the captures of one project may take on disk, in bytes.
    pub project_size: u64,
    /// Longest that one capture may take.
    pub deadline: Duration,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            file_size: 8 << 20,
            project_size: 2 << 30,
            deadline: Duration::from_secs(20),
        }
    }
}

/// `[snapshots]`; see [`SnapshotLimits`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is explained in SnapshotLimits")]
pub struct SnapshotSettings {
    pub enabled: Option<bool>,
    pub file_size: Option<Size>,
    pub project_size: Option<Size>,
    pub deadline: Option<Period>,
}

impl SnapshotSettings {
    pub(super) fn or(self, lower: Self) -> Self {
        Self {
            enabled: self.enabled.or(lower.enabled),
            file_size: self.file_size.or(lower.file_size),
            project_size: self.project_size.or(lower.project_size),
            deadline: self.deadline.or(lower.deadline),
        }
    }

    pub(super) fn into_limits(self) -> Result<SnapshotLimits, ConfigError> {
        let d = SnapshotLimits::default();
        let limits = SnapshotLimits {
            enabled: self.enabled.unwrap_or(d.enabled),
            file_size: self.file_size.map_or(d.file_size, |s| s.0),
            project_size: self.project_size.map_or(d.project_size, |s| s.0),
            deadline: self.deadline.map_or(d.deadline, |p| p.0),
        };
        if limits.deadline.is_zero() {
            return Err(ConfigError::Value {
                key: "snapshots.deadline",
                reason: "must be more than 0; `enabled = false` switches captures off".into(),
            });
        }
        Ok(limits)
    }
}
