//! Templates of slash commands: `$1`… and `$ARGUMENTS` give way to what was typed, and
//! ``!`command` `` to what the command says. Pure; the commands are run in the turn.

/// One piece of an expanded template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// A shell command whose output goes here.
    Shell(String),
}

/// The words of `arguments`: separated by blanks, quotes keep a word together.
pub(crate) fn words(arguments: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in arguments.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Expands a template, its shell commands apart. The last of `$1`… takes all words that are
/// left; a template that asks for nothing gets the arguments appended. Only the template's own
/// shell commands are run: one among the arguments stays text.
pub(crate) fn expand(template: &str, arguments: &str) -> Vec<Piece> {
    let words = words(arguments);
    let last = placeholders(template).max();
    let fill = |text: &str| fill(text, arguments, &words, last);
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, command, after)) = next_command(rest) {
        pieces.push(Piece::Text(fill(before)));
        pieces.push(Piece::Shell(fill(command)));
        rest = after;
    }
    let mut text = fill(rest);
    let asks = last.is_some() || template.contains(ALL);
    if !asks && !arguments.trim().is_empty() {
        text.push_str("\n\n");
        text.push_str(arguments);
    }
    pieces.push(Piece::Text(text));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    pieces
}

/// The text of a template whose shell commands have not run.
pub(crate) fn unexpanded(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Shell(command) => format!("!`{command}`"),
        })
        .collect()
}

/// The placeholders of a template, in the words of OpenCode's command list.
pub(crate) fn hints(template: &str) -> Vec<String> {
    let mut numbers: Vec<_> = placeholders(template).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut hints: Vec<String> = numbers.iter().map(|n| format!("${n}")).collect();
    if template.contains(ALL) {
        hints.push(ALL.to_owned());
    }
    hints
}

const ALL: &str = "$ARGUMENTS";

/// Splits `text` around its first ``!`command` ``.
fn next_command(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("!`").map(|at| at + from) {
        let inner = &text[at + 2..];
        match inner.find('`') {
            Some(0) => from = at + 2,
            Some(end) => return Some((&text[..at], &inner[..end], &inner[end + 1..])),
            None => return None,
        }
    }
    None
}

fn placeholders(template: &str) -> impl Iterator<Item = usize> {
    template
        .match_indices('$')
        .filter_map(|(at, _)| number(&template[at + 1..]))
        .map(|(number, _)| number)
}

/// The number that `text` begins with (1 or more), and its length.
fn number(text: &str) -> Option<(usize, usize)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok().filter(|n| *n > 0)?;
    Some((number, digits))
}

fn fill(text: &str, arguments: &str, words: &[String], last: Option<usize>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix(&ALL[1..]) {
            out.push_str(arguments);
            rest = tail;
        } else if let Some((n, digits)) = number(after) {
            let chosen = words.get(n - 1..).unwrap_or_default();
            let chosen = if Some(n) == last {
                chosen
            } else {
                &chosen[..chosen.len().min(1)]
            };
            out.push_str(&chosen.join(" "));
            rest = &after[digits..];
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(template: &str, arguments: &str) -> String {
        unexpanded(&expand(template, arguments))
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words(""), Vec::<String>::new());
        assert_eq!(words("a  'b c' \"d'e\" f\"g\""), ["a", "b c", "d'e", "fg"]);
        assert_eq!(words("'' x"), ["", "x"]);
        assert_eq!(words("open 'quote here"), ["open", "quote here"]);
    }

    #[test]
    fn placeholders_give_way_to_words() {
        assert_eq!(text("hi $ARGUMENTS|there", "bob"), "hi bob|there");
        assert_eq!(text("$1 and $2", "a b c d"), "a and b c d");
        assert_eq!(text("$2-$1-$2", "a b c"), "b c-a-b c");
        assert_eq!(text("$1 $3", "a"), "a ");
        assert_eq!(
            text("costs $ 5, $0 and $x", "a"),
            "costs $ 5, $0 and $x\n\na"
        );
        assert_eq!(text("fix it", "now please"), "fix it\n\nnow please");
        assert_eq!(text("fix it", "  "), "fix it");
        // What was typed is not looked at again.
        assert_eq!(text("$1 $2", "$2 b"), "$2 b");
    }

    #[test]
    fn only_the_templates_own_commands_run() {
        assert_eq!(
            expand("See !`git log -$1` of !`pwd`", "'3 !`rm x`'"),
            [
                Piece::Text("See ".into()),
                Piece::Shell("git log -3 !`rm x`".into()),
                Piece::Text(" of ".into()),
                Piece::Shell("pwd".into()),
            ]
        );
        assert_eq!(
            expand("$ARGUMENTS", "!`rm x`"),
            [Piece::Text("!`rm x`".into())]
        );
        assert_eq!(
            expand("a !`` b !`open", ""),
            [Piece::Text("a !`` b !`open".into())]
        );
    }

    #[test]
    fn hints_are_the_placeholders() {
        assert_eq!(hints("$2 $ARGUMENTS $1 $2"), ["$1", "$2", "$ARGUMENTS"]);
        assert!(hints("nothing").is_empty());
    }
}
