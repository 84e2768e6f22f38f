//! `/log`: lines of clients in the server's log.

use axum::extract::State;

use crate::decode::{self, Level, LogLine};
use crate::extract::{self, Payload, Reply, Selected};
use crate::state::App;

/// What is written of a text, in bytes; the rest is cut.
const MAX_TEXT: usize = 4 * 1024;

pub(crate) async fn write(State(_): State<App>, _: Selected, body: Payload) -> Reply {
    put(&decode::log_line(body.0)?);
    extract::json(&true)
}

/// The texts are written quoted: none of them can end its line or colour it.
fn put(line: &LogLine) {
    let service = cut(&line.service);
    let message = cut(&line.message);
    let extra = line.extra.as_ref().map(|map| {
        let text = serde_json::to_string(map).unwrap_or_default();
        cut(&text).to_owned()
    });
    match line.level {
        Level::Debug => tracing::debug!(?service, ?message, ?extra, "a client says"),
        Level::Info => tracing::info!(?service, ?message, ?extra, "a client says"),
        Level::Warn => tracing::warn!(?service, ?message, ?extra, "a client says"),
        Level::Error => tracing::error!(?service, ?message, ?extra, "a client says"),
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(MAX_TEXT);
        assert_eq!(cut(&long).len(), MAX_TEXT);
        let odd = format!("x{long}");
        assert_eq!(cut(&odd).len(), MAX_TEXT - 1);
    }
}
