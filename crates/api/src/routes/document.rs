use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::docs::{self, Always};
use crate::extract::NoQuery;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_openapi))
}

/// Get this document
#[utoipa::path(get, path = "/openapi.json", tag = "meta", responses(
    (status = 200, description = "The OpenAPI 3.1 document of this API", body = Object), Always,
))]
async fn get_openapi(_: NoQuery) -> impl IntoResponse {
    let json = HeaderValue::from_static("application/json");
    (
        [(header::CONTENT_TYPE, json)],
        Bytes::from_static(docs::json()),
    )
}
