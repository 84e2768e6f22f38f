use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reading::unreadable;
use crate::problem::Problem;

/// The query parameter that may carry the token; it is the server's, not ours.
const TOKEN: &str = "auth_token";

/// The query parameters; unknown ones are refused.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// For operations without query parameters: refuses all.
#[derive(Debug)]
pub(crate) struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        parse::<Nothing>(parts.uri.query().unwrap_or_default()).map(|_| Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let ours: Vec<&str> = query
        .split('&')
        .filter(|pair| pair.split('=').next().is_some_and(|key| key != TOKEN))
        .collect();
    let ours = ours.join("&");
    let values = serde_urlencoded::Deserializer::new(form_urlencoded::parse(ours.as_bytes()));
    serde_path_to_error::deserialize(values).map_err(|e| {
        let path = e.path().to_string();
        unreadable("query", &path, &e.into_inner().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        limit: Option<u32>,
        search: Option<String>,
    }

    #[test]
    fn parameters_are_read_and_the_token_is_left_to_the_server() {
        let sample: Sample = parse("auth_token=x&limit=3&search=a%20b+c").unwrap();
        assert_eq!(
            sample,
            Sample {
                limit: Some(3),
                search: Some("a b c".into())
            }
        );
        assert!(parse::<Sample>("").is_ok());
    }

    #[test]
    fn bad_parameters_are_named() {
        for (query, field) in [
            ("limt=3", "limt"),
            ("limit=x", "limit"),
            ("limit=-1", "limit"),
            ("limit=1&limit=2", "limit"),
        ] {
            let problem = parse::<Sample>(query).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
        }
        assert!(
            parse::<Sample>("limt=3")
                .unwrap_err()
                .detail
                .contains("did you mean `limit`")
        );
    }
}
