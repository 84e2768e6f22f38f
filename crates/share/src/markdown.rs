//! Markdown to HTML that is safe to put on a page.
//!
//! Two lines of defence: the renderer writes raw HTML as text, and what it made is cleaned by a
//! list of what is allowed. Code is highlighted in between, with classes only.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use comrak::adapters::SyntaxHighlighterAdapter;
use comrak::nodes::NodeValue;
use comrak::options::{Plugins, RenderPlugins};
use comrak::{Arena, Options, format_html_with_plugins, parse_document};

use crate::highlight;

/// Bytes of one text that are rendered as Markdown; longer ones are shown as they are.
const LONGEST: usize = 128 * 1024;

/// Deepest nesting of quotes.
const DEEPEST: usize = 50;

/// The HTML of a Markdown text.
pub(crate) fn html(text: &str) -> String {
    if text.len() > LONGEST || is_too_deep(text) {
        return format!("<pre>{}</pre>", ammonia::clean_text(text));
    }
    let mut out = String::with_capacity(text.len() * 2);
    let arena = Arena::new();
    let root = parse_document(&arena, text, &OPTIONS);
    for node in root.descendants() {
        let mut node = node.data_mut();
        // A picture would be fetched from somewhere: a link that nobody has to follow instead.
        if let NodeValue::Image(link) = &node.value {
            node.value = NodeValue::Link(link.clone());
        }
    }
    let plugins = Plugins {
        render: RenderPlugins {
            codefence_syntax_highlighter: Some(&Code),
            ..RenderPlugins::default()
        },
    };
    // Writing into a string does not fail.
    let _ = format_html_with_plugins(root, &OPTIONS, &mut out, &plugins);
    CLEANER.clean(&out).to_string()
}

/// Whether quotes are nested so deep that no person wrote them; rendering them takes quadratic
/// time.
fn is_too_deep(text: &str) -> bool {
    text.lines().any(|line| {
        let mut containers = line
            .chars()
            .take_while(|c| " \t>-+*.)0123456789".contains(*c));
        containers
            .by_ref()
            .filter(|c| *c == '>')
            .nth(DEEPEST)
            .is_some()
    })
}

static OPTIONS: LazyLock<Options<'static>> = LazyLock::new(|| {
    let mut options = Options::default();
    options.extension.table = true;
    options.extension.strikethrough = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    // People read line ends of a prompt as line ends.
    options.render.hardbreaks = true;
    options.render.escape = true;
    options
});

static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let tags = [
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "span",
        "strong",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ];
    let mut cleaner = Builder::empty();
    cleaner
        .generic_attributes(HashSet::new())
        .tags(HashSet::from(tags))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href"])),
            ("ol", HashSet::from(["start"])),
            ("span", HashSet::from(["class"])),
        ]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .attribute_filter(|tag, name, value| match (tag, name) {
            ("span", "class") => highlight::is_class(value).then_some(Cow::Borrowed(value)),
            _ => Some(Cow::Borrowed(value)),
        });
    cleaner
});

struct Code;

impl SyntaxHighlighterAdapter for Code {
    fn write_highlighted(
        &self,
        output: &mut dyn fmt::Write,
        lang: Option<&str>,
        code: &str,
    ) -> fmt::Result {
        output.write_str(&highlight::html(code, lang.unwrap_or_default()))
    }

    fn write_pre_tag(
        &self,
        output: &mut dyn fmt::Write,
        _: HashMap<&'static str, Cow<'_, str>>,
    ) -> fmt::Result {
        output.write_str("<pre>")
    }

    fn write_code_tag(
        &self,
        output: &mut dyn fmt::Write,
        _: HashMap<&'static str, Cow<'_, str>>,
    ) -> fmt::Result {
        output.write_str("<code>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let out = html(
            "# T\n\n*a* **b** `c` ~~d~~\nnext\n\n- [x] done\n- <b>raw</b>\n\n| h |\n|---|\n| c |\n\nhttps://example.org and [x](https://example.org/?a=1&b=2 \"t\")\n",
        );
        insta::assert_snapshot!(out);
    }

    #[test]
    fn code_is_highlighted_with_classes_only() {
        let out = html("```rust\nlet x = \"<script>\"; // y\n```\n\n```nonsense\n<b>\n```\n");
        assert!(out.contains("<span class=\"h-"), "{out}");
        assert!(!out.contains("style=") && !out.contains("<script"), "{out}");
        assert!(out.contains("&lt;b&gt;"), "{out}");
    }

    /// What browsers could do something with.
    fn assert_harmless(text: &str) {
        let out = html(text);
        let lower = out.to_ascii_lowercase();
        let mut rest = lower.as_str();
        while let Some((_, tag)) = rest.split_once('<') {
            let (tag, after) = tag.split_once('>').unwrap_or_else(|| panic!("{out}"));
            let name = tag
                .trim_start_matches('/')
                .split([' ', '/'])
                .next()
                .unwrap();
            assert!(
                [
                    "a",
                    "blockquote",
                    "br",
                    "code",
                    "del",
                    "em",
                    "h1",
                    "h2",
                    "h3",
                    "hr",
                    "li",
                    "ol",
                    "p",
                    "pre",
                    "span",
                    "strong",
                    "table",
                    "tbody",
                    "td",
                    "th",
                    "thead",
                    "tr",
                    "ul"
                ]
                .contains(&name),
                "<{name}> of {text:?} in {out}"
            );
            for attribute in tag.split('"').step_by(2) {
                let attribute = attribute.rsplit(' ').next().unwrap_or_default();
                assert!(
                    !attribute.ends_with('=')
                        || ["href=", "class=", "rel=", "start="].contains(&attribute),
                    "{attribute} of {text:?} in {out}"
                );
            }
            if let Some((_, href)) = tag.split_once("href=\"") {
                assert!(
                    ["http://", "https://", "mailto:"]
                        .iter()
                        .any(|s| href.starts_with(s)),
                    "{href} of {text:?}"
                );
            }
            rest = after;
        }
    }

    #[test]
    fn hostile_texts_are_harmless() {
        for text in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](https://evil.example/pixel.png)",
            "![x][r]\n\n[r]: https://evil.example/pixel.png",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](java\nscript:alert(1))",
            "[x](&#106;avascript:alert(1))",
            "[x](vbscript:x) [y](file:///etc/passwd) [z](data:text/html;base64,PHNjcmlwdD4=)",
            "[x](//evil.example) [y](/v1/sessions) [z](#a)",
            "<javascript:alert(1)>",
            "[x](https://a \"\\\" onmouseover=alert(1) \\\"\")",
            "<style>*{background:url(https://evil.example)}</style>",
            "<svg onload=alert(1)><animate onbegin=alert(1)>",
            "<iframe src=https://evil.example></iframe>",
            "<a href=https://x onclick=alert(1)>x</a>",
            "<div style=\"background:url(x)\">x</div>",
            "<math><mtext></p><script>alert(1)</script>",
            "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
            "```\"onclick=alert(1)\n</code></pre><script>alert(1)</script>\n```",
            "```rust onclick=alert(1)\n</code></pre><script>alert(1)</script>\n```",
            "`<script>alert(1)</script>`",
            "</main></body><script>alert(1)</script>",
            "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
            "<base href=https://evil.example><meta http-equiv=refresh content=0>",
            "<form action=https://evil.example><input autofocus onfocus=alert(1)>",
            "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
            "# <script>alert(1)</script> {onclick=x}",
            "- [ ] <script>alert(1)</script>",
            "<https://evil.example/\"onmouseover=alert(1)>",
            "[x]: javascript:alert(1)\n\n[x]",
            "\u{0}<scr\u{0}ipt>alert(1)</scr\u{0}ipt>",
        ] {
            assert_harmless(text);
        }
    }

    #[test]
    fn texts_made_to_be_slow_are_rendered() {
        for unit in [
            "[", "> ", "*a_", "![", "<", "`", "- ", "1. ", "| ", "\\", "&", "**", "[a](", "~~",
            "    ", "((", "https://",
        ] {
            let text = unit.repeat(60_000 / unit.len());
            assert_harmless(&text);
        }
    }
}
