use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use sessiond_model::{MessageId, PermissionId, ProjectId, QuestionId, SessionId, TurnId};
use utoipa::IntoParams;

use super::reading::unreadable;
use crate::problem::Problem;

/// The ids in the address.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::invalid("path", "Expected percent-encoded UTF-8"))?;
        let values = MapDeserializer::<_, serde::de::value::Error>::new(params.iter());
        serde_path_to_error::deserialize(values)
            .map(Self)
            .map_err(|e| {
                let path = e.path().to_string();
                unreadable("path", &path, &e.into_inner().to_string())
            })
    }
}

/// The address of a session.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SessionPath {
    /// Id of the session.
    #[param(value_type = String, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128, example = "ses_0123456789abExampleSession")]
    pub(crate) session_id: SessionId,
}

/// The address of a message.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MessagePath {
    /// Id of the session.
    #[param(value_type = String, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128, example = "ses_0123456789abExampleSession")]
    pub(crate) session_id: SessionId,
    /// Id of the message.
    #[param(value_type = String, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128, example = "msg_0123456789abExampleMessag")]
    pub(crate) message_id: MessageId,
}

/// The address of a turn.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TurnPath {
    /// Id of the session.
    #[param(value_type = String, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128, example = "ses_0123456789abExampleSession")]
    pub(crate) session_id: SessionId,
    /// Id of the turn.
    #[param(value_type = String, pattern = "^trn[A-Za-z0-9_.:-]*$", max_length = 128, example = "trn_0123456789abExampleTurn00")]
    pub(crate) turn_id: TurnId,
}

/// The address of a permission request.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct PermissionPath {
    /// Id of the permission request.
    #[param(value_type = String, pattern = "^per[A-Za-z0-9_.:-]*$", max_length = 128, example = "per_0123456789abExamplePermis")]
    pub(crate) permission_id: PermissionId,
}

/// The address of a question.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct QuestionPath {
    /// Id of the question.
    #[param(value_type = String, pattern = "^que[A-Za-z0-9_.:-]*$", max_length = 128, example = "que_0123456789abExampleQuesti")]
    pub(crate) question_id: QuestionId,
}

/// The address of a project.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ProjectPath {
    /// Id of the project: a git root commit, or `global`.
    #[param(value_type = String, max_length = 128, example = "global")]
    pub(crate) project_id: ProjectId,
}
