//! Titles and slugs.

use crate::Timestamp;

const ADJECTIVES: [&str; 32] = [
    "amber", "brave", "brisk", "calm", "clear", "clever", "cosmic", "crisp", "curious", "eager",
    "fleet", "gentle", "glowing", "happy", "hidden", "jolly", "keen", "kind", "lucky", "mellow",
    "misty", "neat", "nimble", "proud", "quick", "quiet", "sharp", "shiny", "silent", "sunny",
    "swift", "tidy",
];
const NOUNS: [&str; 32] = [
    "anchor", "badger", "beacon", "canyon", "cedar", "comet", "engine", "falcon", "forest",
    "garden", "harbor", "island", "knight", "lagoon", "lantern", "meadow", "moon", "mountain",
    "nebula", "ocean", "orchid", "otter", "panda", "pixel", "planet", "rocket", "river", "sailor",
    "squid", "tiger", "valley", "wizard",
];

/// A short human-readable name drawn from `random`.
#[must_use]
pub fn slug(random: u64) -> String {
    let a = ADJECTIVES[usize::try_from(random % 32).unwrap_or(0)];
    let n = NOUNS[usize::try_from((random >> 8) % 32).unwrap_or(0)];
    format!("{a}-{n}")
}

/// The title of a session that nobody has named yet.
#[must_use]
pub fn default_title(child: bool, at: Timestamp) -> String {
    let kind = if child { "Child" } else { "New" };
    format!("{kind} session - {at}")
}

/// Whether a title is still the default one.
#[must_use]
pub fn is_default_title(title: &str) -> bool {
    let Some(rest) = ["New session - ", "Child session - "]
        .iter()
        .find_map(|p| title.strip_prefix(p))
    else {
        return false;
    };
    // 2026-11-22T16:28:13.636Z
    rest.len() == 24
        && rest.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            10 => b == b'T',
            13 | 16 => b == b':',
            19 => b == b'.',
            23 => b == b'Z',
            _ => b.is_ascii_digit(),
        })
}

/// The title of a fork: the origin's without its own fork number, and the fork's.
#[must_use]
pub fn fork_title(origin: &str, number: u32) -> String {
    format!("{} (fork #{number})", without_fork_number(origin))
}

fn without_fork_number(title: &str) -> &str {
    let cut = || {
        let (name, number) = title.strip_suffix(')')?.rsplit_once(" (fork #")?;
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        digits.then_some(name)
    };
    cut().unwrap_or(title)
}

/// A title from the first prompt: its first line that says something, white space folded,
/// at most 100 characters. `None` when the prompt has no text.
#[must_use]
pub fn title_from_prompt(prompt: &str) -> Option<String> {
    let line = prompt
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .find(|l| !l.is_empty())?;
    Some(if line.chars().count() > 100 {
        line.chars().take(97).chain("...".chars()).collect()
    } else {
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_titles_are_known_again() {
        let t = default_title(false, Timestamp(1_795_364_893_636));
        assert_eq!(t, "New session - 2026-11-22T16:28:13.636Z");
        assert!(is_default_title(&t));
        assert!(is_default_title(&default_title(true, Timestamp(0))));
        assert!(!is_default_title("New session - of mine"));
        assert!(!is_default_title("Fix the build"));
    }

    #[test]
    fn forks_are_numbered_once() {
        assert_eq!(fork_title("Fix it", 1), "Fix it (fork #1)");
        assert_eq!(fork_title("Fix it (fork #1)", 12), "Fix it (fork #12)");
        assert_eq!(fork_title("Fix (fork #x)", 2), "Fix (fork #x) (fork #2)");
        assert_eq!(fork_title(" (fork #3)", 4), " (fork #4)");
        assert_eq!(fork_title("", 1), " (fork #1)");
    }

    #[test]
    fn titles_come_from_the_first_line() {
        assert_eq!(
            title_from_prompt("\n  fix   the\tbuild \nplease").as_deref(),
            Some("fix the build")
        );
        assert_eq!(title_from_prompt(" \n "), None);
        let long = title_from_prompt(&"é".repeat(300)).unwrap();
        assert_eq!(long.chars().count(), 100);
        assert!(long.ends_with("..."));
    }
}
