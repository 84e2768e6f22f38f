use serde_json::json;

use super::*;

fn redact(text: &str) -> (String, Findings) {
    let mut findings = Findings::default();
    let out = Redactor::default().text(text, &mut findings);
    (out, findings)
}

/// Texts made of letters and digits that no scanner takes for somebody's secret.
fn fill(length: usize) -> String {
    "aB3dE5gH7jK9mN1pQ2sT4vW6xY8z"
        .chars()
        .cycle()
        .take(length)
        .collect()
}

#[test]
fn known_secrets_are_taken_out() {
    let upper = "A2B3C4D5E6F7G2H3";
    for (kind, secret) in [
        ("openai-key", format!("sk-{}", fill(48))),
        ("openai-key", format!("sk-proj-{}", fill(60))),
        ("anthropic-key", format!("sk-ant-api03-{}", fill(90))),
        ("github-token", format!("ghp_{}", fill(36))),
        ("github-token", format!("ghs_{}", fill(36))),
        (
            "github-token",
            format!("github_pat_{}_{}", fill(22), fill(59)),
        ),
        ("gitlab-token", format!("glpat-{}", fill(20))),
        ("gitlab-token", format!("glrt-{}", fill(20))),
        ("aws-key", format!("AKIA{upper}")),
        ("aws-key", format!("ASIA{upper}")),
        ("google-key", format!("AIza{}", fill(35))),
        ("google-key", format!("GOCSPX-{}", fill(28))),
        ("google-key", format!("ya29.{}", fill(60))),
        ("slack-token", format!("xoxb-123456789012-{}", fill(24))),
        ("slack-token", format!("xapp-1-{}", fill(24))),
        (
            "slack-token",
            format!("https://hooks.slack.com/services/T000/B000/{}", fill(24)),
        ),
        ("stripe-key", format!("sk_live_{}", fill(24))),
        ("stripe-key", format!("rk_test_{}", fill(24))),
        ("stripe-key", format!("whsec_{}", fill(32))),
        ("npm-token", format!("npm_{}", fill(36))),
        ("pypi-token", format!("pypi-AgEIcHlwaS5vcmc{}", fill(60))),
        ("hugging-face-token", format!("hf_{}", fill(34))),
        ("sendgrid-key", format!("SG.{}.{}", fill(22), fill(43))),
        (
            "digitalocean-token",
            format!("dop_v1_{}", "0123456789abcdef".repeat(4)),
        ),
        ("groq-key", format!("gsk_{}", fill(52))),
        ("xai-key", format!("xai-{}", fill(80))),
        (
            "jwt",
            format!("eyJ{}.eyJ{}.{}", fill(20), fill(30), fill(43)),
        ),
        (
            "private-key",
            format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----",
                fill(70)
            ),
        ),
        (
            "private-key",
            // The end was cut off, or is not there yet.
            format!("-----BEGIN RSA PRIVATE KEY-----\n{}", fill(70)),
        ),
    ] {
        for around in [
            "{}", "key: {}", "\"{}\"", "a {} b", "x={}\n", "`{}`", "({})",
        ] {
            let text = around.replace("{}", &secret);
            let (out, findings) = redact(&text);
            assert!(!out.contains(&secret[secret.len() - 16..]), "{kind}: {out}");
            assert!(out.contains("[redacted"), "{out}");
            assert!(findings.kinds.values().any(|f| f.count > 0));
            if around == "{}" {
                assert_eq!(findings.kinds.keys().collect::<Vec<_>>(), [&kind], "{text}");
            }
        }
    }
}

#[test]
fn secrets_are_known_by_their_place() {
    for (text, expected) in [
        ("Authorization: Bearer abc", "Authorization: Bearer abc"),
        (
            "Authorization: Bearer abcdef",
            "Authorization: Bearer [redacted: authorization]",
        ),
        (
            "authorization: basic b3BlbmNvZGU6eA==",
            "authorization: basic [redacted: authorization]",
        ),
        (
            r#"{\"Authorization\": \"Bearer abcdef\"}"#,
            r#"{\"Authorization\": \"Bearer [redacted: authorization]\"}"#,
        ),
        (
            "curl -H 'Authorization: token abcdef' x",
            "curl -H 'Authorization: token [redacted: authorization]' x",
        ),
        (
            "x-api-key: abcdefgh",
            "x-api-key: [redacted: authorization]",
        ),
        (
            "-H \"PRIVATE-TOKEN: abcdefgh\"",
            "-H \"PRIVATE-TOKEN: [redacted: authorization]\"",
        ),
        ("Cookie: sid=abc; other=def", "Cookie: [redacted: cookie]"),
        ("KEY=abc", "KEY=[redacted: assignment]"),
        ("PASSWORD=hunter2", "PASSWORD=[redacted: assignment]"),
        (
            "export API_TOKEN=abc && run",
            "export API_TOKEN=[redacted: assignment] && run",
        ),
        (
            "DB_PASSWORD='a b c' x",
            "DB_PASSWORD=[redacted: assignment] x",
        ),
        (
            "MY_SECRET=\"my pass phrase\"",
            "MY_SECRET=[redacted: assignment]",
        ),
        (
            "MY_SECRET=\"unfinished phr",
            "MY_SECRET=[redacted: assignment]",
        ),
        (
            "AWS_SECRET_ACCESS_KEY=wJal/x+y",
            "AWS_SECRET_ACCESS_KEY=[redacted: assignment]",
        ),
        (
            "api_key = \"not so public\"",
            "api_key = \"[redacted: assignment]\"",
        ),
        (
            "\"client_secret\": \"abcdefg\"",
            "\"client_secret\": \"[redacted: assignment]\"",
        ),
        ("password: hunter22", "password: [redacted: assignment]"),
        (
            "postgres://app:s3cret@db/x",
            "postgres://app:[redacted: url-credentials]@db/x",
        ),
        (
            "https://:tok@host/",
            "https://:[redacted: url-credentials]@host/",
        ),
        (
            "https://h/x?a=1&access_token=abcdefgh&b",
            "https://h/x?a=1&access_token=[redacted: url-credentials]&b",
        ),
    ] {
        assert_eq!(redact(text).0, expected, "{text}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "The task-force-for-everything-else has met",
        "sk-learn-and-a-long-name-with-dashes",
        "ghp_short and github_pattern_matching",
        "MONKEY=banana TURKEY=2 HOCKEY_STICK=1",
        "MAX_TOKENS=100",
        "max_tokens = 100, token_count: 12345",
        "PASSWORD=$DB_PASSWORD",
        "TOKEN=${TOKEN}",
        "TOKEN=$(cat token)",
        "KEY= ",
        "let token = self.token();",
        "password: String,",
        "fn key(&self) -> Key",
        "token: Option<String>",
        "type Props = { token: string; secret: boolean }",
        "\"token\": \"string\"",
        "Authorization: Bearer $TOKEN",
        "Authorization: Bearer <token>",
        "the bearer of bad news",
        "authorization is required here",
        "AKIA is how they begin",
        "http://localhost:8080/path@2x.png",
        "git@github.com:owner/repo.git",
        "https://github.com/@somebody",
        "see ?page=2&key=name",
        "eyJhbGciOi is the start of a token",
        "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",
        "/homely/x /usershare /rooted /etc/root /var/root/x",
        "the /home directory and /Users",
        "/Users/Shared/x",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "550e8400-e29b-41d4-a716-446655440000",
        "The cookie: a small thing that people eat",
        "token := parser.Next()",
    ] {
        let (out, findings) = redact(text);
        assert_eq!(out, text);
        assert_eq!(findings, Findings::default());
    }
}

#[test]
fn home_directories_become_a_tilde() {
    for (text, expected) in [
        ("/home/alice/project/x.rs", "~/project/x.rs"),
        ("cd /home/alice", "cd ~"),
        ("(/home/alice/x)", "(~/x)"),
        ("/home/a:/home/b/bin", "~:~/bin"),
        ("PATH=/home/a/bin:/usr/bin", "PATH=~/bin:/usr/bin"),
        ("/Users/alice/x and /Users/bob", "~/x and ~"),
        ("/var/home/alice/x", "~/x"),
        ("file:///home/alice/x", "file://~/x"),
        (
            "--- a/home/alice/x\n+++ b/home/alice/x",
            "--- a~/x\n+++ b~/x",
        ),
        ("/mnt/c/Users/alice/x", "/mnt/c~/x"),
        ("/root/x", "~/x"),
        ("ls /root", "ls ~"),
        ("in /root.", "in ~."),
        (r"C:\Users\alice\x", r"~\x"),
        (r"c:\\Users\\alice\\x", r"~\\x"),
        ("C:/Users/alice/x", "~/x"),
    ] {
        assert_eq!(redact(text).0, expected, "{text}");
    }
}

#[test]
fn what_is_secret_here_is_known() {
    let redactor = Redactor::new(
        vec!["my-server-token-0001".into(), "short".into()],
        vec!["/srv/people/alice/".into(), "/".into()],
    );
    let mut findings = Findings::default();
    let text =
        "a my-server-token-0001 short /srv/people/alice/x /srv/people/alicent -srv-people-alice-x";
    let out = redactor.text(text, &mut findings);
    assert_eq!(
        out,
        "a [redacted: server-token] short ~/x /srv/people/alicent ~-x"
    );
    assert_eq!(findings.kinds["home-directory"].count, 2);
    let link = format!("http://127.0.0.1:2468/s/{}", fill(43));
    assert_eq!(
        redact(&link).0,
        "http://127.0.0.1:2468/s/[redacted: share-link]"
    );
}

#[test]
fn terminals_are_left_out_and_nothing_hides_behind_them() {
    for (text, expected) in [
        ("\u{1b}[31mred\u{1b}[0m", "red"),
        ("\u{1b}[38;2;1;2;3mx\u{1b}[K", "x"),
        ("\u{1b}]0;title\u{7}x", "x"),
        ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
        ("a\u{9b}31mb", "ab"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\u{0}b\u{8}c\td\ne", "abc\td\ne"),
        ("x\u{202e}y\u{2066}z", "xyz"),
        ("end \u{1b}", "end "),
        ("\u{1b}[", ""),
        ("PASS\u{1b}[1mWORD=abc", "PASSWORD=[redacted: assignment]"),
    ] {
        assert_eq!(redact(text).0, expected, "{text:?}");
    }
    let split = format!("ghp_{}\u{1b}[0m{}", fill(20), fill(16));
    assert_eq!(redact(&split).0, "[redacted: github-token]");
}

#[test]
fn values_are_redacted_wherever_they_are() {
    let mut findings = Findings::default();
    let input = json!({
        "command": "cat /home/alice/x",
        "env": [{"password": "hunter2", "clientSecret": "x", "max_tokens": 5, "tokens": "many"}],
        "/home/alice/y": {"n": 1},
    });
    let out = Redactor::default().map(input.as_object().unwrap(), &mut findings);
    assert_eq!(
        Value::Object(out),
        json!({
            "command": "cat ~/x",
            "env": [{
                "password": "[redacted: assignment]",
                "clientSecret": "[redacted: assignment]",
                "max_tokens": 5,
                "tokens": "many",
            }],
            "~/y": {"n": 1},
        })
    );
    assert_eq!(findings.kinds["assignment"].count, 2);
}

#[test]
fn samples_are_few_and_masked() {
    let mut findings = Findings::default();
    findings.reading(Some(&MessageId::trusted("msg_1")));
    let secret = format!("ghp_{}", fill(36));
    for _ in 0..20 {
        let _ = Redactor::default().text(&secret, &mut findings);
    }
    let finding = &findings.kinds["github-token"];
    assert_eq!((finding.count, finding.samples.len()), (20, SAMPLES));
    assert_eq!(finding.samples[0].masked, "ghp_aB3d… (40 characters)");
    assert_eq!(
        finding.samples[0].message_id,
        Some(MessageId::trusted("msg_1"))
    );
}

#[test]
fn nothing_is_redacted_twice() {
    for text in [
        "TOKEN=abc",
        "PASSWORD='x y'",
        "/home/alice/x",
        "Authorization: Bearer abcdefg",
        "cookie: a=b",
    ] {
        let once = redact(text).0;
        let (twice, findings) = redact(&once);
        assert_eq!(twice, once);
        assert_eq!(findings, Findings::default(), "{once}");
    }
}
