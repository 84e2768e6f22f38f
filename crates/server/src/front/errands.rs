//! Errands between nodes: what a request that concerns several sessions has another node do with
//! one that it holds.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sessiond_engine::{AbortOptions, Elsewhere, Engine, EngineError, Errand, Peers, QueuePolicy};
use sessiond_model::{SessionId, Timestamp};
use sessiond_store::EntityKind;

use super::forward::{FORWARDED, Line};
use super::surface::{Refusal, Surface};

/// Where a node takes errands, from nodes only.
const PATH: &str = "/node/errand";
/// Until an errand that was not run may be sent again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(2);

/// An errand on the wire.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    session: SessionId,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum What {
    Stop { keep_queue: bool },
    Trash { at: i64 },
    Restore,
}

impl From<Errand> for What {
    fn from(errand: Errand) -> Self {
        match errand {
            Errand::Stop(options) => Self::Stop {
                keep_queue: options.queue == QueuePolicy::Keep,
            },
            Errand::Trash(at) => Self::Trash { at: at.millis() },
            Errand::Restore => Self::Restore,
        }
    }
}

impl From<What> for Errand {
    fn from(what: What) -> Self {
        match what {
            What::Stop { keep_queue } => Self::Stop(AbortOptions {
                queue: if keep_queue {
                    QueuePolicy::Keep
                } else {
                    QueuePolicy::Drop
                },
            }),
            What::Trash { at } => Self::Trash(Timestamp(at)),
            What::Restore => Self::Restore,
        }
    }
}

/// Takes errands of other nodes.
pub(crate) fn router(engine: Engine) -> Router {
    Router::new().route(PATH, post(run)).with_state(engine)
}

async fn run(
    State(engine): State<Engine>,
    headers: HeaderMap,
    order: Result<Json<Order>, JsonRejection>,
) -> Response {
    // The front door has seen the nodes' token of whoever says so.
    if !headers.contains_key(FORWARDED) {
        return Refusal::Nowhere.into_response(Surface::Root);
    }
    let Json(order) = match order {
        Ok(order) => order,
        Err(rejection) => return rejection.into_response(),
    };
    match engine.run_errand(&order.session, order.what.into()).await {
        Ok(done) => Json(done).into_response(),
        Err(error @ EngineError::NotFound { .. }) => {
            (StatusCode::NOT_FOUND, error.to_string()).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// Errands to other nodes, on the line to them.
#[derive(Debug)]
pub(super) struct Errands(pub(super) Arc<Line>);

impl Peers for Errands {
    fn ask<'a>(
        &'a self,
        node: &'a Elsewhere,
        errand: Errand,
    ) -> BoxFuture<'a, Result<bool, EngineError>> {
        let order = Order {
            session: node.session.clone(),
            what: errand.into(),
        };
        async move {
            let failed = |reason: String| EngineError::Unavailable {
                reason: format!(
                    "{}, which belongs to this session, is held by node {}: {reason}",
                    node.session, node.node
                ),
                retry_after: RETRY,
            };
            let body = serde_json::to_vec(&order).map_err(|e| failed(e.to_string()))?;
            let (status, answer) = self.0.post(node, PATH, body).await.map_err(failed)?;
            match status {
                StatusCode::OK => {
                    serde_json::from_slice(&answer).map_err(|e| failed(e.to_string()))
                }
                StatusCode::NOT_FOUND => Err(EngineError::NotFound {
                    kind: EntityKind::Session,
                    id: node.session.to_string(),
                }),
                _ => Err(failed(String::from_utf8_lossy(&answer).into_owned())),
            }
        }
        .boxed()
    }
}
