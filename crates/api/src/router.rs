use axum::Router;
use axum::extract::OriginalUri;
use axum::http::Method;

use crate::problem::{Problem, ProblemKind};
use crate::routes;
use crate::state::ApiState;

/// The routes below `/v1` (the prefix is the server's to add with `nest`), with a fallback
/// that answers every other address and method with a problem.
pub fn router(state: ApiState) -> Router {
    let (router, _) = routes::all().split_for_parts();
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}

async fn unknown_route(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(
        ProblemKind::UnknownRoute,
        format!("There is nothing at {}; see /v1/openapi.json", uri.path()),
    )
}

async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!(
        "{} does not take {method}; the Allow header says what it does",
        uri.path()
    );
    Problem::new(ProblemKind::MethodNotAllowed, detail)
}
