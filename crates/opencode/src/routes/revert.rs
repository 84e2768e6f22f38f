//! `/session/{id}/revert`, `/unrevert` and `/diff`.

use axum::extract::State;
use serde::Serialize;
use sessiond_engine::Reverted;
use sessiond_model::MessageId;

use crate::decode::{self, Kind, Reject};
use crate::extract::{self, InSession, Pairs, Payload, Reply};
use crate::state::App;
use crate::wire::{self, SessionDto};

/// The session, with what OpenCode has no place for.
#[derive(Serialize)]
struct RevertedDto<'a> {
    #[serde(flatten)]
    session: SessionDto<'a>,
    /// The files that were left as they are: clients ignore it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<ConflictDto<'a>>,
}

#[derive(Serialize)]
struct ConflictDto<'a> {
    file: &'a str,
    reason: sessiond_model::Conflict,
}

fn reply(reverted: &Reverted) -> Reply {
    let left = reverted.files.iter();
    let conflicts = left.filter_map(|f| {
        Some(ConflictDto {
            file: &f.file,
            reason: f.conflict?,
        })
    });
    extract::json(&RevertedDto {
        session: SessionDto::of(&reverted.session),
        conflicts: conflicts.collect(),
    })
}

pub(crate) async fn revert(
    State(app): State<App>,
    InSession(id): InSession,
    body: Payload,
) -> Reply {
    let options = decode::revert(body.0)?;
    reply(&app.engine.revert(&id, options).await?)
}

pub(crate) async fn unrevert(State(app): State<App>, InSession(id): InSession) -> Reply {
    reply(&app.engine.unrevert(&id).await?)
}

/// The file changes of one prompt, or of the whole session.
pub(crate) async fn diff(State(app): State<App>, InSession(id): InSession, query: Pairs) -> Reply {
    let message = query.get("messageID").map(MessageId::parse).transpose();
    let message = message.map_err(|e| Reject::new(Kind::Query, e.to_string()).at("messageID"))?;
    let session = app.engine.session(&id).await?;
    let workspace = app.engine.workspace(Some(&session.directory)).await?;
    let changes = app.engine.diff(&id, message.as_ref()).await?;
    extract::json(&wire::diffs(changes, &workspace.worktree))
}
