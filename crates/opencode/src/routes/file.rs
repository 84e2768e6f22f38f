//! `/file*` and `/find*`: the files of a directory.

use std::path::PathBuf;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::json;
use sessiond_engine::Workspace;
use sessiond_workspace::{
    Content, Entry, FileChange, Hit, Kind as EntryKind, Kinds, MAX_FOUND, Root, Since,
    WorkspaceError,
};

use super::{offered, vcs};
use crate::decode::{Kind, Reject};
use crate::error::ApiError;
use crate::extract::{self, Pairs, Reply, Selected};
use crate::state::App;

/// Paths listed when the client gives no limit.
const DEFAULT_FOUND: usize = 10;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/file", get(list))
        .route("/file/content", get(content))
        .route("/file/status", get(status))
        .route("/find", get(search))
        .route("/find/file", get(find))
        // Symbols come from language servers, which are the agents' own.
        .route("/find/symbol", get(offered::not_offered))
}

/// The directory of a request.
pub(crate) async fn root(app: &App, at: &Selected) -> Result<Root, ApiError> {
    open(&*app.engine.workspace(at.directory.as_deref()).await?)
}

pub(crate) fn open(workspace: &Workspace) -> Result<Root, ApiError> {
    Root::open(&workspace.directory).map_err(ApiError::files("directory"))
}

/// A parameter of the query that must be there; it may be empty.
pub(crate) fn required<'a>(query: &'a Pairs, name: &'static str) -> Result<&'a str, Reject> {
    query
        .get(name)
        .ok_or_else(|| Reject::new(Kind::Query, "Missing key").at(name))
}

pub(crate) fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Directory => "directory",
        EntryKind::File => "file",
    }
}

#[derive(Serialize)]
struct NodeDto {
    name: String,
    path: String,
    absolute: PathBuf,
    #[serde(rename = "type")]
    kind: &'static str,
    ignored: bool,
}

impl From<Entry> for NodeDto {
    fn from(entry: Entry) -> Self {
        Self {
            name: entry.name,
            path: entry.path,
            absolute: entry.absolute,
            kind: kind_name(entry.kind),
            ignored: entry.ignored,
        }
    }
}

async fn list(State(app): State<App>, at: Selected, query: Pairs) -> Reply {
    let path = required(&query, "path")?;
    let entries = sessiond_workspace::list(&root(&app, &at).await?, path).await;
    let entries = entries.map_err(ApiError::files("path"))?;
    let is_cut = entries.is_cut;
    let nodes: Vec<_> = entries.into_iter().map(NodeDto::from).collect();
    extract::json_cut(&nodes, is_cut)
}

/// A file that is not there is empty: clients ask for files that were deleted.
async fn content(State(app): State<App>, at: Selected, query: Pairs) -> Reply {
    let path = required(&query, "path")?;
    let content = sessiond_workspace::content(&root(&app, &at).await?, path).await;
    extract::json(&match content {
        Ok(Content::Text(text)) => json!({"type": "text", "content": text}),
        Err(WorkspaceError::Missing(_)) => json!({"type": "text", "content": ""}),
        Ok(Content::Binary(file)) => json!({
            "type": "binary", "content": BASE64.encode(&file.bytes),
            "encoding": "base64", "mimeType": file.mime,
        }),
        Err(e) => return Err(ApiError::files("path")(e)),
    })
}

async fn status(State(app): State<App>, at: Selected) -> Reply {
    let Some(root) = vcs::root(&app, &at).await? else {
        return extract::json(&[(); 0]);
    };
    let changes = sessiond_workspace::changes(&root, Since::Head, Some(0)).await;
    let changes = changes.map_err(ApiError::files("directory"))?;
    let files = changes.items.iter().map(|c: &FileChange| {
        json!({"path": c.file, "added": c.additions, "removed": c.deletions,
            "status": vcs::status_name(c.status)})
    });
    extract::json_cut(&files.collect::<Vec<_>>(), changes.is_cut)
}

async fn search(State(app): State<App>, at: Selected, query: Pairs) -> Reply {
    let pattern = required(&query, "pattern")?;
    let hits = sessiond_workspace::search(&root(&app, &at).await?, pattern).await;
    let hits = hits.map_err(ApiError::files("pattern"))?;
    let shown = hits.iter().map(|hit: &Hit| {
        let submatches = hit
            .submatches
            .iter()
            .map(|m| json!({"match": {"text": m.text}, "start": m.start, "end": m.end}));
        json!({
            "path": {"text": hit.path}, "lines": {"text": hit.line},
            "line_number": hit.line_number, "absolute_offset": hit.offset,
            "submatches": submatches.collect::<Vec<_>>(),
        })
    });
    extract::json_cut(&shown.collect::<Vec<_>>(), hits.is_cut)
}

async fn find(State(app): State<App>, at: Selected, query: Pairs) -> Reply {
    let text = required(&query, "query")?;
    let kinds = match (kinds(&query)?, query.get("dirs")) {
        (Some(kinds), _) => kinds,
        (None, None | Some("true")) => Kinds::All,
        (None, Some("false")) => Kinds::Files,
        (None, Some(other)) => {
            let reason = format!("Expected \"true\" | \"false\", got {other:?}");
            return Err(Reject::new(Kind::Query, reason).at("dirs").into());
        }
    };
    let limit = limit(&query)?;
    let found = sessiond_workspace::find(&root(&app, &at).await?, text, kinds, limit).await;
    let found = found.map_err(ApiError::files("query"))?;
    let is_cut = found.is_cut;
    let paths: Vec<_> = found.into_iter().map(|f| f.path).collect();
    extract::json_cut(&paths, is_cut)
}

/// What `type` asks for.
pub(crate) fn kinds(query: &Pairs) -> Result<Option<Kinds>, Reject> {
    match query.get("type") {
        None => Ok(None),
        Some("file") => Ok(Some(Kinds::Files)),
        Some("directory") => Ok(Some(Kinds::Directories)),
        Some(other) => {
            let reason = format!("Expected \"file\" | \"directory\", got {other:?}");
            Err(Reject::new(Kind::Query, reason).at("type"))
        }
    }
}

pub(crate) fn limit(query: &Pairs) -> Result<usize, Reject> {
    let Some(text) = query.get("limit") else {
        return Ok(DEFAULT_FOUND);
    };
    let refuse = |reason: String| Reject::new(Kind::Query, reason).at("limit");
    let number: i64 =
        (text.parse()).map_err(|_| refuse(format!("Expected an integer, got {text:?}")))?;
    match usize::try_from(number) {
        Ok(n @ 1..=MAX_FOUND) => Ok(n),
        Ok(0) | Err(_) => Err(refuse(format!(
            "Expected a value greater than or equal to 1, got {number}"
        ))),
        Ok(_) => Err(refuse(format!(
            "Expected a value less than or equal to {MAX_FOUND}, got {number}"
        ))),
    }
}
