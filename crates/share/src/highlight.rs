//! Colours for code and diffs, as classes of the page's style sheet.

use std::fmt::Write as _;
use std::sync::LazyLock;

use askama::filters::{Escaper as _, Html};
use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};
use syntect::util::LinesWithEndings;

/// Longer code has no colours: it is for reading, and finding them takes time.
const LONGEST: usize = 64 * 1024;
/// Neither have longer lines.
const LONGEST_LINE: usize = 2000;

static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(SyntaxSet::load_defaults_newlines);

/// The classes, each with the scopes it is for; the innermost scope that has one counts.
const CLASSES: [(&str, &[&str]); 6] = [
    ("h-c", &["comment"]),
    ("h-s", &["string"]),
    ("h-n", &["constant"]),
    ("h-k", &["keyword", "storage", "variable.language"]),
    (
        "h-f",
        &[
            "entity.name.function",
            "support.function",
            "variable.function",
        ],
    ),
    ("h-t", &["entity.name", "support.type", "support.class"]),
];

/// Other names of languages than those the syntaxes go by, or languages close to one.
const ALIASES: [(&str, &str); 12] = [
    ("ts", "js"),
    ("tsx", "js"),
    ("jsx", "js"),
    ("mjs", "js"),
    ("typescript", "js"),
    ("jsonc", "json"),
    ("zsh", "sh"),
    ("shell", "sh"),
    ("console", "sh"),
    ("toml", "properties"),
    ("ini", "properties"),
    ("dockerfile", "sh"),
];

struct Scopes([(&'static str, Vec<Scope>); 6]);

static SCOPES: LazyLock<Scopes> = LazyLock::new(|| {
    Scopes(CLASSES.map(|(class, names)| {
        let scopes = names.iter().filter_map(|name| Scope::new(name).ok());
        (class, scopes.collect())
    }))
});

/// Whether this is one of our classes.
pub(crate) fn is_class(name: &str) -> bool {
    CLASSES.iter().any(|(class, _)| *class == name)
}

/// Code of a language (a name or a file's extension) as HTML.
pub(crate) fn html(code: &str, language: &str) -> String {
    let language = ALIASES
        .iter()
        .find_map(|(alias, name)| alias.eq_ignore_ascii_case(language).then_some(*name))
        .unwrap_or(language);
    let known = (!language.is_empty() && code.len() <= LONGEST)
        .then(|| SYNTAXES.find_syntax_by_token(language))
        .flatten();
    known
        .and_then(|syntax| coloured(code, syntax))
        .unwrap_or_else(|| escaped(code))
}

fn coloured(code: &str, syntax: &SyntaxReference) -> Option<String> {
    let mut out = Spans {
        html: String::with_capacity(code.len() * 2),
        class: None,
    };
    let mut state = ParseState::new(syntax);
    let mut stack = ScopeStack::new();
    for line in LinesWithEndings::from(code) {
        if line.len() > LONGEST_LINE {
            out.push(line, None);
            continue;
        }
        let mut at = 0;
        for (end, op) in state.parse_line(line, &SYNTAXES).ok()? {
            out.push(&line[at..end], class_of(&stack));
            stack.apply(&op).ok()?;
            at = end;
        }
        out.push(&line[at..], class_of(&stack));
    }
    Some(out.end())
}

/// Text in spans, neighbours of one class in one.
struct Spans {
    html: String,
    class: Option<&'static str>,
}

impl Spans {
    fn push(&mut self, text: &str, class: Option<&'static str>) {
        if !text.is_empty() {
            self.turn(class);
            escape(text, &mut self.html);
        }
    }

    fn turn(&mut self, class: Option<&'static str>) {
        if class == self.class {
            return;
        }
        if self.class.is_some() {
            self.html.push_str("</span>");
        }
        if let Some(class) = class {
            let _ = write!(self.html, "<span class=\"{class}\">");
        }
        self.class = class;
    }

    fn end(mut self) -> String {
        self.turn(None);
        self.html
    }
}

fn class_of(stack: &ScopeStack) -> Option<&'static str> {
    stack.scopes.iter().rev().find_map(|scope| {
        let is = |prefix: &Scope| prefix.is_prefix_of(*scope);
        let mut classes = SCOPES.0.iter();
        classes.find_map(|(class, scopes)| scopes.iter().any(is).then_some(*class))
    })
}

/// A unified diff as HTML, one element per line.
pub(crate) fn diff(patch: &str) -> String {
    let mut out = String::with_capacity(patch.len() * 2);
    for line in patch.lines() {
        let class = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => "d-file",
            [b'+', ..] => "d-add",
            [b'-', ..] => "d-del",
            [b'@', b'@', ..] => "d-hunk",
            _ => "d-same",
        };
        let _ = write!(out, "<span class=\"{class}\">");
        escape(line, &mut out);
        out.push_str("\n</span>");
    }
    out
}

pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape(text, &mut out);
    out
}

fn escape(text: &str, out: &mut String) {
    // Writing into a string does not fail.
    let _ = Html.write_escaped_str(&mut *out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_keeps_its_text() {
        let code = "fn main() {\n    // a <b> & 'c'\n    println!(\"{}\", 1);\n}\n";
        let out = html(code, "rust");
        insta::assert_snapshot!(out);
        assert_eq!(html(code, "no such language"), escaped(code));
        assert_eq!(html("<x>", ""), "&#60;x&#62;");
    }

    #[test]
    fn diffs_have_their_colours() {
        insta::assert_snapshot!(diff(
            "--- a/x\n+++ b/x\n@@ -1 +1 @@\n same\n-<old>\n+<new>\n"
        ));
    }

    #[test]
    fn odd_code_is_shown() {
        for code in [
            "\u{0}\u{1b}[31m",
            "\"unfinished",
            "é\u{202e}ü\n\n\r\n",
            "((((((((",
            "",
        ] {
            for language in ["rust", "js", "py", "html", "sh", "json", "md", "diff"] {
                let _ = html(code, language);
            }
        }
        let long = "x(".repeat(LONGEST);
        assert_eq!(html(&long, "rust"), escaped(&long));
    }
}
