//! The list of known secrets: what each looks like, and what it is no secret after all.

use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};

/// One kind of thing that is not for strangers.
pub(super) struct Rule {
    /// Its name in the placeholder and in the preview.
    pub(super) kind: &'static str,
    pattern: &'static str,
    /// Refuses what only looks like it.
    plausible: fn(&str) -> bool,
}

/// Rules by the order in which they are applied: the special before the general, so that the
/// placeholder names the special one. The group `x` of a pattern, else the whole match, is what
/// is taken out.
const RULES: &[Rule] = &[
    rule(
        "private-key",
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    rule("anthropic-key", r"\bsk-ant-[A-Za-z0-9_-]{12,}"),
    checked(
        "openai-key",
        r"\bsk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}",
        has_digit,
    ),
    rule(
        "github-token",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
    ),
    rule(
        "gitlab-token",
        r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|oas)-[A-Za-z0-9_.-]{20,}",
    ),
    rule("aws-key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    rule(
        "google-key",
        r"\b(?:AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{20,})",
    ),
    rule(
        "slack-token",
        r"\b(?:xox[abceoprs](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})|https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_+-]{20,}",
    ),
    rule(
        "stripe-key",
        r"\b(?:[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{20,}=*)",
    ),
    rule("npm-token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    rule("pypi-token", r"\bpypi-AgE[A-Za-z0-9_-]{30,}"),
    rule("hugging-face-token", r"\bhf_[A-Za-z0-9]{30,}"),
    rule(
        "sendgrid-key",
        r"\bSG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,46}",
    ),
    rule("digitalocean-token", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    rule("groq-key", r"\bgsk_[A-Za-z0-9]{40,}"),
    rule("xai-key", r"\bxai-[A-Za-z0-9]{40,}"),
    rule(
        "jwt",
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{8,}",
    ),
    rule("share-link", r"/s/(?P<x>[A-Za-z0-9_-]{43})\b"),
    checked(
        "url-credentials",
        r#"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:"'<>]*:(?P<x>[^\s/@"'<>]+)@"#,
        is_value,
    ),
    checked(
        "url-credentials",
        r#"(?i)[?&](?:access_token|auth_token|refresh_token|id_token|token|api_?key|key|secret|password|sig|signature|x-amz-(?:signature|credential|security-token))=(?P<x>[^&\s"'<>#]{8,})"#,
        is_value,
    ),
    checked(
        "authorization",
        r#"(?i)\b(?:proxy-)?authorization\\?["']?\s*[:=]\s*\\?["']?(?:bearer|basic|token|digest|negotiate|apikey|key)\s+(?P<x>[^\s"'\\<>]{4,})"#,
        is_value,
    ),
    checked(
        "authorization",
        r#"(?i)\b(?:proxy-)?authorization\\?["']?\s*[:=]\s*\\?["']?(?P<x>[^\s"'\\<>]{16,})"#,
        has_digit,
    ),
    checked(
        "authorization",
        r"(?i)\bbearer\s+(?P<x>[A-Za-z0-9._~+/-]{16,}=*)",
        has_digit,
    ),
    checked(
        "authorization",
        r#"(?i)\b(?:x-[a-z-]*(?:key|token|secret|auth)|api-key|private-token|job-token)\\?["']?\s*:\s*\\?["']?(?P<x>[^\s"'\\,<>]{6,})"#,
        is_value,
    ),
    rule(
        "cookie",
        r#"(?i)\b(?:set-)?cookie\\?["']?\s*:\s*\\?["']?(?P<x>[^\s=;"']+=[^\r\n"']+)"#,
    ),
    checked(
        "assignment",
        r#"(?m)\b(?:[A-Z0-9]+_)*(?:KEY|APIKEY|PASSWORD|PASSWD|PASS|PWD|PASSPHRASE|SECRET|TOKEN|AUTHTOKEN|PAT|CREDENTIALS?|DSN)(?:_(?:[0-9]+|PROD|PRODUCTION|DEV|TEST|STAGING|B64|BASE64))?=(?P<x>\\?"[^"\r\n]*?(?:\\?"|$)|\\?'[^'\r\n]*?(?:\\?'|$)|[^\s"'`;&|)]+)"#,
        is_assigned,
    ),
    checked(
        "assignment",
        r#"(?i)(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|token)\\?["']?\s*(?:=>|:=|=|:)\s*\\?["'](?P<x>[^"'\\\r\n]{4,})"#,
        is_literal,
    ),
    checked(
        "assignment",
        r#"(?i)(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|token)\s*[:=]\s*(?P<x>[^\s"'`,;(){}<>\[\]\\]{6,})"#,
        is_mixed,
    ),
    rule(
        HOME,
        r#"(?i)\b(?P<x>[a-z]:(?:\\\\|\\|/)Users(?:\\\\|\\|/)[^\\/\s"'<>|:*?]+)"#,
    ),
    checked(
        HOME,
        r#"(?m)(?:^|[^A-Za-z0-9_.~/-]|file://|/mnt/[a-z]|\b[ab])(?P<x>(?:/var)?/(?:home|Users)/[^/\s"'`:;,<>|()\[\]{}*?\\$]+)"#,
        |path| !path.ends_with("/Shared"),
    ),
    rule(
        HOME,
        r"(?m)(?:^|[^A-Za-z0-9_.~/-]|file://|\b[ab])(?P<x>/root)(?:/|[^A-Za-z0-9_.-]|\.?$)",
    ),
];

/// The kind whose placeholder is `~`.
pub(super) const HOME: &str = "home-directory";

/// Names of fields whose text is not for strangers, whatever it looks like.
const SECRET_NAMES: &str = r"(?i)^(?:.*[_-])?(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|secret[_-]?key|signing[_-]?key|authorization|cookie|credentials?)$|(?:password|secret|apikey|accesskey|privatekey|token)$";

const fn rule(kind: &'static str, pattern: &'static str) -> Rule {
    checked(kind, pattern, |_| true)
}

const fn checked(kind: &'static str, pattern: &'static str, plausible: fn(&str) -> bool) -> Rule {
    Rule {
        kind,
        pattern,
        plausible,
    }
}

/// Something given, not the name of where it is given.
fn is_value(text: &str) -> bool {
    !text.starts_with(['$', '<', '{', '%', '*', '[']) && !text.starts_with("...")
}

fn has_digit(text: &str) -> bool {
    is_value(text) && text.bytes().any(|b| b.is_ascii_digit())
}

fn is_assigned(text: &str) -> bool {
    let inner = text
        .trim_start_matches('\\')
        .trim_matches(['"', '\'', '\\']);
    !inner.is_empty() && is_value(inner) && !inner.starts_with('(')
}

/// A quoted text that is no type, no name of a variable and no other word of that kind.
fn is_literal(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "string",
        "text",
        "password",
        "secret",
        "token",
        "null",
        "none",
        "true",
        "false",
        "undefined",
        "required",
        "optional",
        "number",
        "hidden",
        "bearer",
        "invalid",
        "missing",
    ];
    is_value(text) && !WORDS.iter().any(|w| w.eq_ignore_ascii_case(text.trim()))
}

/// Letters and digits, as people's passwords have and code seldom does.
fn is_mixed(text: &str) -> bool {
    has_digit(text)
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && !text.contains("::")
        && !text.starts_with("0x")
        && !text.starts_with('&')
}

/// All rules, ready for use.
pub(super) struct Rules {
    any: RegexSet,
    each: Vec<(&'static Rule, Regex)>,
    secret_name: Regex,
}

/// The rules. Their patterns are constants, and a test compiles each.
pub(super) static ALL: LazyLock<Rules> = LazyLock::new(|| {
    let compile = |pattern: &str| Regex::new(pattern).expect("a pattern of ours");
    Rules {
        any: RegexSet::new(RULES.iter().map(|r| r.pattern)).expect("patterns of ours"),
        each: RULES.iter().map(|r| (r, compile(r.pattern))).collect(),
        secret_name: compile(SECRET_NAMES),
    }
});

impl Rules {
    /// Whether the text of a field of this name is a secret.
    pub(super) fn is_secret_name(&self, name: &str) -> bool {
        name.len() <= 128 && self.secret_name.is_match(name)
    }

    /// Takes out all that a rule finds; `replace` is told of each and says what comes instead.
    pub(super) fn apply(
        &self,
        text: &str,
        replace: &mut dyn FnMut(&'static str, &str) -> String,
    ) -> Option<String> {
        let mut out: Option<String> = None;
        for index in self.any.matches(text) {
            let (rule, regex) = &self.each[index];
            let now = out.as_deref().unwrap_or(text);
            let next = regex.replace_all(now, |found: &Captures<'_>| {
                let whole = found.get_match();
                let secret = found.name("x").unwrap_or(whole);
                if !(rule.plausible)(secret.as_str()) || secret.as_str().starts_with("[redacted") {
                    return whole.as_str().to_owned();
                }
                let (from, to) = (whole.start(), secret.start());
                let before = &now[from..to];
                let after = &now[secret.end()..whole.end()];
                format!("{before}{}{after}", replace(rule.kind, secret.as_str()))
            });
            if let std::borrow::Cow::Owned(next) = next {
                out = Some(next);
            }
        }
        out
    }
}
