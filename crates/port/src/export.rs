//! The text of an export, piece by piece.

use futures::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use sessiond_model::{MessageDoc, Session, SessionId, Todo};

use crate::SessionDto;
use crate::transcript::write_message;

/// An export, as `opencode import` reads it: `{"info": …, "messages": […], "todos": […]}`, from
/// pages of messages in the order of the transcript. OpenCode passes over the todo list. One that
/// is cut off is no valid JSON, so that nobody takes it for a whole one.
pub fn export<E, S: Stream<Item = Result<Vec<MessageDoc>, E>>>(
    session: &Session,
    todos: &[Todo],
    pages: S,
) -> impl Stream<Item = Result<Vec<u8>, E>> + use<E, S> {
    // The link of a share leads to this place, not to a copy.
    let session = Session {
        share_url: None,
        ..session.clone()
    };
    let info = serde_json::to_value(SessionDto::of(&session)).unwrap_or(Value::Null);
    let head = format!("{{\"info\":{info},\"messages\":[").into_bytes();
    let tail = format!("],\"todos\":{}}}\n", json!(todos)).into_bytes();
    let mut first = true;
    let messages = pages.map(move |page| {
        let mut out = Vec::new();
        for doc in &page? {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_message(&mut out, doc);
        }
        Ok(out)
    });
    let (head, tail) = (stream::iter([Ok(head)]), stream::iter([Ok(tail)]));
    head.chain(messages).chain(tail)
}

/// The header that names the file of an export.
#[must_use]
pub fn disposition(id: &SessionId) -> String {
    format!("attachment; filename=\"{id}.json\"")
}
