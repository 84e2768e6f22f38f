//! What OpenCode has and sessiond does not offer, and what nobody has.

use axum::extract::OriginalUri;
use axum::http::Method;

use crate::error::ApiError;

/// An endpoint of OpenCode that is not offered here: says so, instead of a fake success.
pub(crate) async fn not_offered(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::not_offered(method, &uri)
}

/// A path that is no endpoint.
pub(crate) async fn no_endpoint(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::NoEndpoint(method, uri.path().to_owned())
}

/// An endpoint that does not take this method.
pub(crate) async fn no_method(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::NoMethod(method, uri.path().to_owned())
}
