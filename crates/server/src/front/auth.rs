//! Who may come in.

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Token;

/// The user name of OpenCode's clients.
const USER: &str = "opencode";
/// The query parameter of OpenCode's clients that cannot set headers.
const QUERY_KEY: &str = "auth_token";
/// No credential of ours is longer.
const MAX_LEN: usize = 1024;

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, ANY_PADDING);

/// Checks credentials. Keeps digests only, and compares them in constant time: neither the
/// content nor the length of the token shows in the time an answer takes.
#[derive(Debug)]
pub(crate) struct Auth {
    token: [u8; 32],
    user_and_token: [u8; 32],
}

impl Auth {
    pub(crate) fn new(token: &Token) -> Self {
        Self {
            token: digest(token.reveal().as_bytes()),
            user_and_token: digest(format!("{USER}:{}", token.reveal()).as_bytes()),
        }
    }

    /// Whether the request shows the token: as `auth_token` in the query (which wins over
    /// the header, as in OpenCode), or as `Authorization: Bearer` or `Basic`.
    pub(crate) fn admits(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        if let Some(value) = query.and_then(query_token) {
            return self.admits_query(value);
        }
        let Some(value) = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()) else {
            return false;
        };
        let Some((scheme, credentials)) = value.trim().split_once(' ') else {
            return false;
        };
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            same(&self.token, credentials.as_bytes())
        } else {
            scheme.eq_ignore_ascii_case("basic")
                && self.admits_base64(&STANDARD, credentials.as_bytes())
        }
    }

    fn admits_query(&self, value: &str) -> bool {
        let value = urlencoding::decode_binary(value.as_bytes());
        // In base64 a `+` that was not escaped arrives as it is.
        same(&self.token, &value)
            || self.admits_base64(&STANDARD, &value)
            || self.admits_base64(&URL_SAFE, &value)
    }

    fn admits_base64(&self, engine: &GeneralPurpose, credentials: &[u8]) -> bool {
        let mut plain = [0; MAX_LEN];
        engine
            .decode_slice(credentials, &mut plain)
            .is_ok_and(|len| same(&self.user_and_token, &plain[..len]))
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn same(known: &[u8; 32], offered: &[u8]) -> bool {
    offered.len() <= MAX_LEN && bool::from(known.ct_eq(&digest(offered)))
}

fn is_token(pair: &str) -> Option<&str> {
    pair.strip_prefix(QUERY_KEY)?.strip_prefix('=')
}

/// The value of `auth_token` in a query.
fn query_token(query: &str) -> Option<&str> {
    query
        .contains(QUERY_KEY)
        .then(|| query.split('&').find_map(is_token))
        .flatten()
}

/// The query without `auth_token`, when it has one: what is behind the door need not, and
/// must not, see it (links and logs are made from the URL).
pub(crate) fn without_token(query: &str) -> Option<String> {
    query_token(query)?;
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| is_token(pair).is_none())
        .collect();
    Some(rest.join("&"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const TOKEN: &str = "n0t-A-very-secret/token+1";

    fn admits(header: Option<&str>, query: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        }
        Auth::new(&Token::parse(TOKEN).unwrap()).admits(&headers, query)
    }

    fn b64(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    #[test]
    fn every_form() {
        let basic = b64(&format!("opencode:{TOKEN}"));
        assert!(admits(Some(&format!("Bearer {TOKEN}")), None));
        assert!(admits(Some(&format!("bEARER  {TOKEN} ")), None));
        assert!(admits(Some(&format!("Basic {basic}")), None));
        assert!(admits(
            Some(&format!("basic {}", basic.trim_end_matches('='))),
            None
        ));
        assert!(admits(
            None,
            Some(&format!("auth_token={}", urlencoding::encode(&basic)))
        ));
        assert!(admits(None, Some(&format!("a=b&auth_token={basic}&c"))));
        assert!(admits(
            None,
            Some(&format!("auth_token={}", urlencoding::encode(TOKEN)))
        ));
    }

    #[test]
    fn nothing_else() {
        let other = b64(&format!("root:{TOKEN}"));
        let wrong = b64("opencode:n0t-A-very-secret/token+2");
        for header in [
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some(TOKEN.into()),
            Some(format!("Bearer {TOKEN}x")),
            Some(format!("Bearer {}", &TOKEN[1..])),
            Some(format!("Token {TOKEN}")),
            Some(format!("Basic {TOKEN}")),
            Some(format!("Basic {other}")),
            Some(format!("Basic {wrong}")),
            Some(format!("Basic {}", "A".repeat(100_000))),
            Some(format!("Bearer {}", "A".repeat(100_000))),
        ] {
            assert!(!admits(header.as_deref(), None), "{header:?}");
            assert!(
                !admits(header.as_deref(), Some("auth_tokens=1&x")),
                "{header:?}"
            );
        }
    }

    #[test]
    fn the_query_wins() {
        let good = format!("Bearer {TOKEN}");
        assert!(!admits(Some(&good), Some("auth_token=wrong")));
        assert!(!admits(Some(&good), Some("auth_token=")));
        assert!(admits(
            Some("Bearer wrong"),
            Some(&format!("auth_token={TOKEN}"))
        ));
    }

    #[test]
    fn the_token_is_taken_out_of_the_query() {
        assert_eq!(without_token("a=1&b=2"), None);
        assert_eq!(without_token("xauth_token=1"), None);
        assert_eq!(
            without_token("a=1&auth_token=x&b=2"),
            Some("a=1&b=2".into())
        );
        assert_eq!(without_token("auth_token=x"), Some(String::new()));
    }
}
