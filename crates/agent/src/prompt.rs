//! What we send as a prompt.

use serde_json::{Value, json};

/// One block of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptBlock {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// Media type.
        mime: String,
        /// Content, base64.
        data_base64: String,
        /// Where it came from.
        uri: Option<String>,
    },
    /// Sound.
    Audio {
        /// Media type.
        mime: String,
        /// Content, base64.
        data_base64: String,
    },
    /// A file that the agent can read itself.
    ResourceLink {
        /// Where it is.
        uri: String,
        /// For people.
        name: String,
        /// Media type.
        mime: Option<String>,
    },
    /// A text file with its content.
    Resource {
        /// Where it came from.
        uri: String,
        /// Media type.
        mime: Option<String>,
        /// Its content.
        text: String,
    },
}

impl PromptBlock {
    /// The ACP content block.
    pub(crate) fn to_json(&self) -> Value {
        let mut block = match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Image {
                mime,
                data_base64,
                uri,
            } => json!({"type": "image", "mimeType": mime, "data": data_base64, "uri": uri}),
            Self::Audio { mime, data_base64 } => {
                json!({"type": "audio", "mimeType": mime, "data": data_base64})
            }
            Self::ResourceLink { uri, name, mime } => {
                json!({"type": "resource_link", "uri": uri, "name": name, "mimeType": mime})
            }
            Self::Resource { uri, mime, text } => {
                let mut resource = json!({"uri": uri, "mimeType": mime, "text": text});
                drop_nulls(&mut resource);
                json!({"type": "resource", "resource": resource})
            }
        };
        drop_nulls(&mut block);
        block
    }
}

fn drop_nulls(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, v| !v.is_null());
    }
}
