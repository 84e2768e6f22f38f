//! `/vcs*`: what git says of a directory. Where there is no git there is nothing to tell.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sessiond_workspace::{Bounded, FileChange, FileStatus, Root, Since, WorkspaceError};

use super::file;
use crate::decode::{self, Kind, Reject};
use crate::error::ApiError;
use crate::extract::{self, Pairs, Payload, Reply, Selected};
use crate::state::App;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/vcs", get(branches))
        .route("/vcs/status", get(status))
        .route("/vcs/diff", get(diff))
        .route("/vcs/diff/raw", get(raw_diff))
        .route("/vcs/apply", post(apply))
}

/// The directory of a request; `None` when it is not there.
pub(crate) async fn root(app: &App, at: &Selected) -> Result<Option<Root>, ApiError> {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    Ok(Root::open(&workspace.directory).ok())
}

pub(crate) fn status_name(status: FileStatus) -> &'static str {
    match status {
        FileStatus::Added => "added",
        FileStatus::Deleted => "deleted",
        FileStatus::Modified => "modified",
    }
}

#[derive(Serialize)]
struct ChangeDto {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    additions: u64,
    deletions: u64,
    status: &'static str,
}

impl From<FileChange> for ChangeDto {
    fn from(change: FileChange) -> Self {
        Self {
            file: change.file,
            patch: change.patch,
            additions: change.additions,
            deletions: change.deletions,
            status: status_name(change.status),
        }
    }
}

async fn branches(State(app): State<App>, at: Selected) -> Reply {
    let mut shown = Map::new();
    if let Some(root) = root(&app, &at).await? {
        let branches = sessiond_workspace::branches(&root).await;
        let branches = branches.map_err(ApiError::files("directory"))?;
        let named = [
            ("branch", branches.current),
            ("default_branch", branches.default),
        ];
        for (name, branch) in named {
            if let Some(branch) = branch {
                shown.insert(name.into(), branch.into());
            }
        }
    }
    extract::json(&shown)
}

async fn changed(
    app: &App,
    at: &Selected,
    since: Since,
    context: Option<u32>,
) -> Result<Bounded<ChangeDto>, ApiError> {
    let Some(root) = root(app, at).await? else {
        return Ok(Bounded::default());
    };
    let changes = sessiond_workspace::changes(&root, since, context).await;
    let changes = changes.map_err(ApiError::files("directory"))?;
    Ok(Bounded {
        items: changes.items.into_iter().map(ChangeDto::from).collect(),
        is_cut: changes.is_cut,
    })
}

async fn status(State(app): State<App>, at: Selected) -> Reply {
    let mut changes = changed(&app, &at, Since::Head, Some(0)).await?;
    for change in &mut changes.items {
        change.patch = None;
    }
    extract::json_cut(&changes.items, changes.is_cut)
}

async fn diff(State(app): State<App>, at: Selected, query: Pairs) -> Reply {
    let since = match file::required(&query, "mode")? {
        "git" => Since::Head,
        "branch" => Since::Branch,
        other => {
            let reason = format!("Expected \"git\" | \"branch\", got {other:?}");
            return Err(Reject::new(Kind::Query, reason).at("mode").into());
        }
    };
    let changes = changed(&app, &at, since, context(&query)?).await?;
    extract::json_cut(&changes.items, changes.is_cut)
}

fn context(query: &Pairs) -> Result<Option<u32>, Reject> {
    let Some(text) = query.get("context") else {
        return Ok(None);
    };
    let refuse = |reason: String| Reject::new(Kind::Query, reason).at("context");
    let number: i64 =
        (text.parse()).map_err(|_| refuse(format!("Expected an integer, got {text:?}")))?;
    if number < 0 {
        let reason = format!("Expected a value greater than or equal to 0, got {number}");
        return Err(refuse(reason));
    }
    // More lines than a file can have are all lines.
    Ok(i32::try_from(number).ok().map(i32::unsigned_abs))
}

async fn raw_diff(State(app): State<App>, at: Selected) -> Reply {
    let diff = match root(&app, &at).await? {
        Some(root) => sessiond_workspace::raw_diff(&root).await,
        None => Ok(Vec::new()),
    };
    let diff = diff.map_err(ApiError::files("directory"))?;
    Ok(([(header::CONTENT_TYPE, "text/x-diff; charset=utf-8")], diff).into_response())
}

async fn apply(State(app): State<App>, at: Selected, body: Payload) -> Reply {
    let patch = decode::patch(body.0)?;
    let refused: WorkspaceError = match root(&app, &at).await? {
        None => WorkspaceError::NoRepository,
        Some(root) => match sessiond_workspace::apply(&root, patch).await {
            Ok(()) => return extract::json(&json!({"applied": true})),
            Err(e) => e,
        },
    };
    Err(ApiError::files("patch")(refused))
}

/// The refusal of a patch, in OpenCode's form.
pub(crate) fn apply_error(error: &WorkspaceError, reason: &'static str) -> Value {
    json!({"name": "VcsApplyError", "data": {"message": error.to_string(), "reason": reason}})
}
