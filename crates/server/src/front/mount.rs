//! Which router a request goes to.

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Response, Uri};
use futures::future::Either;
use futures::{FutureExt as _, TryFutureExt as _};
use std::convert::Infallible;
use tower::ServiceExt as _;
use tower_http::CompressionLevel;
use tower_http::compression::Compression;
use tower_http::compression::predicate::{And, NotForContentType, Predicate as _, SizeAbove};

use super::surface::{Refusal, Surface};

/// Smaller replies are not worth compressing.
const COMPRESS_ABOVE: u64 = 1024;

type Zip = Compression<Router, And<SizeAbove, NotForContentType>>;

/// The routers of the rooms, each without its prefix.
#[derive(Debug)]
pub(crate) struct Routers {
    /// `/opencode`
    pub(crate) opencode: Router,
    /// `/v1`
    pub(crate) core: Router,
    /// What has no prefix.
    pub(crate) root: Router,
}

/// The same as [`Router::nest`] in an outer router would do, without the outer router: a
/// request is matched, boxed and given extensions once, not twice.
pub(super) struct Mounts {
    opencode: Mount,
    core: Mount,
    root: Mount,
}

struct Mount {
    prefix: &'static str,
    plain: Router,
    zip: Zip,
}

impl Mounts {
    pub(super) fn new(routers: Routers) -> Self {
        let root = routers
            .root
            .fallback(async || Refusal::Nowhere.into_response(Surface::Root));
        Self {
            opencode: Mount::new("/opencode", routers.opencode),
            core: Mount::new("/v1", routers.core),
            root: Mount::new("", root),
        }
    }

    /// Calls the router of this path.
    pub(super) fn call(
        &self,
        request: Request<Body>,
        zip: bool,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
        let path = request.uri().path();
        let mount = match Surface::of(path) {
            Surface::Core => &self.core,
            Surface::OpenCode | Surface::OpenCodeV2 if path.starts_with("/opencode") => {
                &self.opencode
            }
            _ => &self.root,
        };
        mount.call(request, zip)
    }
}

impl Mount {
    fn new(prefix: &'static str, router: Router) -> Self {
        let worthwhile = SizeAbove::new(COMPRESS_ABOVE).and(NotForContentType::SSE);
        let zip = Compression::new(router.clone())
            .quality(CompressionLevel::Fastest)
            .compress_when(worthwhile);
        Self {
            prefix,
            plain: router,
            zip,
        }
    }

    fn call(
        &self,
        mut request: Request<Body>,
        zip: bool,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
        if let Some(inner) = without_prefix(request.uri(), self.prefix) {
            let outer = std::mem::replace(request.uri_mut(), inner);
            request.extensions_mut().insert(OriginalUri(outer));
        }
        if zip {
            let zipped = self.zip.clone().oneshot(request);
            Either::Left(zipped.map_ok(|response| response.map(Body::new)).boxed())
        } else {
            Either::Right(self.plain.clone().oneshot(request))
        }
    }
}

/// `/v1/sessions?x` without `/v1` is `/sessions?x`. The path must start with the prefix.
fn without_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    if prefix.is_empty() {
        return None;
    }
    let rest = uri.path_and_query()?.as_str().strip_prefix(prefix)?;
    let rest = if rest.starts_with('/') {
        PathAndQuery::try_from(rest)
    } else {
        PathAndQuery::try_from(format!("/{rest}"))
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let inner = |uri: &str| without_prefix(&uri.parse().unwrap(), "/v1").map(|u| u.to_string());
        assert_eq!(inner("/v1/a?b=/v1").as_deref(), Some("/a?b=/v1"));
        assert_eq!(inner("/v1?b").as_deref(), Some("/?b"));
        assert_eq!(inner("/v1").as_deref(), Some("/"));
        assert_eq!(inner("http://h:1/v1/a").as_deref(), Some("http://h:1/a"));
        assert_eq!(inner("/v1//a").as_deref(), Some("//a"));
    }
}
