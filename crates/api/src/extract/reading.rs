//! What went wrong while reading a body or query, in words that name the place.

use serde::{Deserialize, Deserializer};

use crate::problem::Problem;

/// Longest distance at which a known name is offered for an unknown one: the Jaro-Winkler
/// similarity must be above this.
const SIMILAR: f64 = 0.8;

/// The problem behind a failed deserialization of `whole` (`body`, …) at `path` (`.` at the
/// top) with serde's message.
pub(super) fn unreadable(whole: &str, path: &str, message: &str) -> Problem {
    let names = quoted(message);
    let named = |prefix: &str| {
        message
            .starts_with(prefix)
            .then(|| names.first().copied())
            .flatten()
    };
    let parent = if path == "." || path == "?" { "" } else { path };
    if let Some(unknown) = named("unknown field") {
        let field = join(parent, unknown);
        let near = nearest(unknown, &names[1..])
            .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        return Problem::invalid(field, format!("Unknown field{near}"));
    }
    if let Some(missing) = named("missing field") {
        return Problem::invalid(join(parent, missing), "This field is required");
    }
    if let Some(twice) = named("duplicate field") {
        return Problem::invalid(join(parent, twice), "This field is given twice");
    }
    if parent.is_empty() {
        return Problem::invalid(whole, sentence(message));
    }
    Problem::invalid(parent, sentence(message))
}

/// serde's messages name fields and variants in backticks: the offending one first.
fn quoted(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

fn join(parent: &str, field: &str) -> String {
    // Where a value is read through a buffer the path already ends with the field.
    if parent.is_empty() || parent == field || parent.ends_with(&format!(".{field}")) {
        return if parent.is_empty() {
            field.to_owned()
        } else {
            parent.to_owned()
        };
    }
    format!("{parent}.{field}")
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|k| (strsim::jaro_winkler(unknown, k), *k))
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// For fields that may be absent but not `null`: `null` would look like "leave it" and like
/// "clear it" at the same time.
pub(crate) fn not_null<'de, D, T>(d: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(d).map(Some)
}

/// For fields where absent means "leave it" and `null` means "clear it".
pub(crate) fn double_option<'de, D, T>(d: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(d).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_come_with_the_nearest_known_one() {
        let p = unreadable(
            "body",
            ".",
            "unknown field `titel`, expected one of `title`, `directory`",
        );
        assert_eq!(p.field.as_deref(), Some("titel"));
        assert_eq!(p.detail, "titel: Unknown field; did you mean `title`?");
        let p = unreadable(
            "body",
            "model",
            "unknown field `zzz`, expected `id` or `variant`",
        );
        assert_eq!(p.detail, "model.zzz: Unknown field");
    }

    #[test]
    fn wrong_values_name_their_path() {
        let p = unreadable(
            "body",
            "parts[0].text",
            "invalid type: integer `1`, expected a string",
        );
        assert_eq!(p.field.as_deref(), Some("parts[0].text"));
        assert_eq!(
            p.detail,
            "parts[0].text: Invalid type: integer `1`, expected a string"
        );
        assert_eq!(
            unreadable("body", ".", "missing field `reply`")
                .field
                .as_deref(),
            Some("reply")
        );
    }
}
