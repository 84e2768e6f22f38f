//! The body of `POST /session/{id}/revert`.

use serde_json::Value;
use sessiond_engine::RevertOptions;
use sessiond_model::{MessageId, PartId};

use super::{Decoded, Node};

/// `{messageID, partID?}`. Files that were not captured are no obstacle: OpenCode then only
/// hides the messages.
pub(crate) fn revert(body: Option<Value>) -> Decoded<RevertOptions> {
    let mut f = Node::root(body).object()?;
    Ok(RevertOptions {
        message_id: f.take("messageID").id(MessageId::parse)?,
        part_id: f.take("partID").optional(|n| n.id(PartId::parse))?,
        force: false,
        lenient: true,
    })
}
