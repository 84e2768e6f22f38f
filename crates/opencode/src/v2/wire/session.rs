//! Sessions.

use serde::Serialize;
use sessiond_model::{ModelRef, Revert, Session, SessionId, Timestamp, Tokens};

/// A session. What is not set is left out.
#[derive(Debug, Serialize)]
pub(crate) struct SessionDto<'a> {
    id: &'a SessionId,
    #[serde(rename = "parentID", skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a SessionId>,
    #[serde(rename = "projectID")]
    project_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelDto<'a>>,
    cost: f64,
    tokens: Tokens,
    time: Times,
    title: &'a str,
    location: Place<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subpath: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revert: Option<RevertDto<'a>>,
}

/// A model, as a session names it.
#[derive(Debug, Serialize)]
pub(crate) struct ModelDto<'a> {
    id: &'a str,
    #[serde(rename = "providerID")]
    provider_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
}

impl<'a> ModelDto<'a> {
    pub(crate) fn of(model: &'a ModelRef) -> Self {
        Self {
            id: &model.id,
            provider_id: &model.provider_id,
            variant: model.variant.as_deref(),
        }
    }

    pub(super) fn new(id: &'a str, provider_id: &'a str, variant: Option<&'a str>) -> Self {
        Self {
            id,
            provider_id,
            variant,
        }
    }
}

#[derive(Debug, Serialize)]
struct Times {
    created: Timestamp,
    updated: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Place<'a> {
    directory: &'a str,
}

/// The marker of a reverted session.
#[derive(Debug, Serialize)]
pub(crate) struct RevertDto<'a> {
    #[serde(flatten)]
    marker: &'a Revert,
    files: Vec<FileDto>,
}

/// A file that a revert changed.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct FileDto {
    path: String,
    status: &'static str,
    additions: u64,
    deletions: u64,
    patch: String,
}

impl<'a> RevertDto<'a> {
    pub(crate) fn of(marker: &'a Revert) -> Self {
        Self {
            marker,
            files: marker.diff.as_deref().map(files).unwrap_or_default(),
        }
    }
}

impl<'a> SessionDto<'a> {
    pub(crate) fn of(s: &'a Session) -> Self {
        Self {
            id: &s.id,
            parent_id: s.parent_id.as_ref(),
            project_id: s.project_id.as_str(),
            agent: s.agent.as_deref(),
            model: s.model.as_ref().map(|m| {
                let variant = m.variant.as_deref().unwrap_or("default");
                ModelDto::new(&m.id, &m.provider_id, Some(variant))
            }),
            cost: s.cost,
            tokens: Tokens {
                total: None,
                ..s.tokens
            },
            time: Times {
                created: s.created_at,
                updated: s.updated_at,
                archived: s.archived_at,
            },
            title: &s.title,
            location: Place {
                directory: &s.directory,
            },
            subpath: s.path.as_deref().filter(|path| !path.is_empty()),
            revert: s.revert.as_ref().map(RevertDto::of),
        }
    }
}

/// The files of a unified diff.
fn files(diff: &str) -> Vec<FileDto> {
    let mut files: Vec<FileDto> = Vec::new();
    let mut in_hunk = false;
    for line in diff.split_inclusive('\n') {
        if let Some(names) = line.strip_prefix("diff --git ") {
            in_hunk = false;
            files.push(FileDto {
                path: names
                    .trim_end()
                    .rsplit_once(" b/")
                    .map_or("", |n| n.1)
                    .into(),
                status: "modified",
                additions: 0,
                deletions: 0,
                patch: String::new(),
            });
        } else if !in_hunk && line.starts_with("--- ") && starts_file(files.last()) {
            files.push(FileDto {
                path: String::new(),
                status: "modified",
                additions: 0,
                deletions: 0,
                patch: String::new(),
            });
        }
        let Some(file) = files.last_mut() else {
            continue;
        };
        file.patch.push_str(line);
        let text = line.trim_end();
        match line.as_bytes().first() {
            _ if line.starts_with("@@") => in_hunk = true,
            Some(b'+') if in_hunk => file.additions += 1,
            Some(b'-') if in_hunk => file.deletions += 1,
            _ if in_hunk => {}
            _ if line.starts_with("new file") || text == "--- /dev/null" => file.status = "added",
            _ if line.starts_with("deleted file") || text == "+++ /dev/null" => {
                file.status = "deleted";
            }
            _ => {}
        }
        for mark in ["--- a/", "+++ b/"] {
            if let Some(path) = text.strip_prefix(mark).filter(|_| !in_hunk) {
                path.clone_into(&mut file.path);
            }
        }
    }
    files
}

/// Whether a `---` line begins another file: of a diff without `diff --git` lines.
fn starts_file(last: Option<&FileDto>) -> bool {
    last.is_none_or(|f| f.patch.contains("\n@@") || f.patch.starts_with("@@"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::bare_session;

    #[test]
    fn what_is_not_set_is_left_out() {
        assert_eq!(
            serde_json::to_value(SessionDto::of(&bare_session())).unwrap(),
            json!({"id": "ses_1", "projectID": "abc", "cost": 0.0, "tokens": {"input": 0,
                "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}, "title": "T",
                "time": {"created": 1, "updated": 2}, "location": {"directory": "/p"}})
        );
    }

    #[test]
    fn a_reverted_session_tells_its_files() {
        let diff = "diff --git a/x/v2.txt b/x/v2.txt\ndeleted file mode 100644\n--- a/x/v2.txt\n\
                    +++ /dev/null\n@@ -1 +0,0 @@\n-v2\ndiff --git a/b b/b\n--- a/b\n+++ b/b\n\
                    @@ -1,2 +1,2 @@\n same\n--- old\n+new\n";
        let told = files(diff);
        assert_eq!(told.len(), 2);
        let short: Vec<_> = told
            .iter()
            .map(|f| (f.path.as_str(), f.status, f.additions, f.deletions))
            .collect();
        assert_eq!(
            short,
            [("x/v2.txt", "deleted", 0, 1), ("b", "modified", 1, 1)]
        );
        assert_eq!(format!("{}{}", told[0].patch, told[1].patch), diff);
    }
}
