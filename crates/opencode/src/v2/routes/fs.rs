//! The files at a place.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use sessiond_workspace::{Kind, Kinds};

use crate::error::ApiError;
use crate::extract::json_cut;
use crate::routes::file;
use crate::v2::extract::{Place, Query, Reply};
use crate::v2::wire::Located;

#[derive(Serialize)]
struct EntryDto {
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl EntryDto {
    fn new(path: String, kind: Kind) -> Self {
        Self {
            path,
            kind: file::kind_name(kind),
        }
    }
}

pub(crate) async fn find(place: Place, query: Query) -> Reply {
    let text = file::required(&query.0, "query")?;
    let kinds = file::kinds(&query.0)?.unwrap_or(Kinds::All);
    let limit = file::limit(&query.0)?;
    let found = sessiond_workspace::find(&file::open(&place.0)?, text, kinds, limit).await;
    let found = found.map_err(ApiError::files("query"))?;
    let is_cut = found.is_cut;
    let data: Vec<_> = (found.into_iter())
        .map(|f| EntryDto::new(f.path, f.kind))
        .collect();
    Ok(json_cut(&Located::new(&place.0, data), is_cut)?)
}

pub(crate) async fn list(place: Place, query: Query) -> Reply {
    let path = query.0.get("path").unwrap_or_default();
    let entries = sessiond_workspace::list(&file::open(&place.0)?, path).await;
    let entries = entries.map_err(ApiError::files("path"))?;
    let is_cut = entries.is_cut;
    let data: Vec<_> = (entries.into_iter())
        .map(|e| EntryDto::new(e.path, e.kind))
        .collect();
    Ok(json_cut(&Located::new(&place.0, data), is_cut)?)
}

/// A file's bytes. What is in it is not ours: a browser that opens it runs nothing of it.
pub(crate) async fn read(Path(path): Path<String>, place: Place) -> Reply {
    let file = sessiond_workspace::raw_file(&file::open(&place.0)?, &path).await;
    let file = file.map_err(ApiError::files("path"))?;
    // SDKs take `text/html` for the page of a server that does not know the endpoint.
    let mime = if file.mime == "text/html" {
        "text/plain; charset=utf-8"
    } else {
        &file.mime
    };
    let mut headers = HeaderMap::new();
    if let Ok(mime) = HeaderValue::from_str(mime) {
        headers.insert(header::CONTENT_TYPE, mime);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let reply: Response = (headers, file.bytes).into_response();
    Ok(reply)
}
