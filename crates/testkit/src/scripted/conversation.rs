//! What a request says, whatever its wire format.

use super::tools::Offer;

/// One thing in the history that a model is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The user said this.
    User(String),
    /// The model said this.
    Assistant(String),
    /// The model called tools (one round, however many calls).
    ToolRound,
}

/// A request in a neutral form.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// The history, oldest first.
    pub items: Vec<Item>,
    /// The tools on offer.
    pub offer: Offer,
}

/// A word of the user that chooses a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Which script.
    pub name: String,
    /// Its argument, mostly a path.
    pub arg: Option<String>,
}

impl Marker {
    /// All markers of a text, in order.
    #[must_use]
    pub fn all(text: &str) -> Vec<Self> {
        text.split("@@").skip(1).filter_map(Self::read).collect()
    }

    fn read(after: &str) -> Option<Self> {
        let name: String = after
            .chars()
            .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
            .collect();
        if name.is_empty() {
            return None;
        }
        let arg = after[name.len()..].strip_prefix(':').map(|rest| {
            let end = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\\' | '<' | '@' | '`'))
                .unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        Some(Self {
            name,
            arg: arg.filter(|a| !a.is_empty()),
        })
    }
}

impl Conversation {
    /// The marker in force, and how many tool rounds there were since.
    #[must_use]
    pub fn current(&self) -> Option<(Marker, usize)> {
        let (at, marker) = self.items.iter().enumerate().rev().find_map(|(i, item)| {
            let Item::User(text) = item else { return None };
            Marker::all(text).pop().map(|m| (i, m))
        })?;
        let rounds = self.items[at..]
            .iter()
            .filter(|i| matches!(i, Item::ToolRound))
            .count();
        Some((marker, rounds))
    }

    /// What the user said, joined.
    #[must_use]
    pub fn user_texts(&self) -> Vec<&str> {
        self.items
            .iter()
            .filter_map(|i| match i {
                Item::User(t) => Some(t.as_str()),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read_with_their_arguments() {
        let found = Marker::all("do @@WRITE:/tmp/a.txt please, then @@TEXT.\n@@ nothing @@lower");
        assert_eq!(
            found,
            [
                Marker {
                    name: "WRITE".into(),
                    arg: Some("/tmp/a.txt".into())
                },
                Marker {
                    name: "TEXT".into(),
                    arg: None
                },
            ]
        );
    }

    #[test]
    fn the_last_marker_rules_and_tool_rounds_after_it_count() {
        let c = Conversation {
            items: vec![
                Item::User("@@TEXT".into()),
                Item::ToolRound,
                Item::User("@@BASH:/x".into()),
                Item::ToolRound,
                Item::User("a reminder without a marker".into()),
            ],
            offer: Offer::default(),
        };
        let (marker, step) = c.current().expect("a marker");
        assert_eq!((marker.name.as_str(), step), ("BASH", 1));
    }
}
