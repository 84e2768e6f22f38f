//! What the agent is sent for a prompt.

use sessiond_agent::PromptBlock;
use sessiond_model::{Message, MessageInfo, PartBody, RestoreRung};
use sessiond_store::{MessageCursor, MessageQuery, StoreError};

use crate::actor::Actor;
use crate::context::ContextBuilder;

/// Messages read at once while looking back.
const PAGE: u32 = 50;

impl Actor {
    /// The prompt's own parts, after what the agent has not heard: the whole transcript when
    /// it lost its memory, else messages that were stored without asking it.
    pub(crate) async fn blocks(
        &self,
        user: &Message,
        position: MessageCursor,
        rung: RestoreRung,
    ) -> Result<Vec<PromptBlock>, StoreError> {
        let mut blocks = Vec::new();
        match rung {
            RestoreRung::Rebuilt => {
                blocks.extend(self.rebuilt(position).await?.map(PromptBlock::Text));
            }
            RestoreRung::New | RestoreRung::Live | RestoreRung::Resumed | RestoreRung::Loaded => {
                blocks.extend(
                    self.unheard(position)
                        .await?
                        .into_iter()
                        .map(PromptBlock::Text),
                );
            }
        }
        if let MessageInfo::User(info) = &user.info
            && let Some(system) = &info.system
        {
            blocks.push(PromptBlock::Text(format!(
                "<instructions>\n{system}\n</instructions>\n"
            )));
        }
        if let Some(doc) = self.inner.store.message(&self.live.id, &user.id).await? {
            blocks.extend(doc.typed_parts().into_iter().filter_map(|p| block(p.body)));
        }
        if blocks.is_empty() {
            // Agents refuse an empty prompt; an empty text says the same.
            blocks.push(PromptBlock::Text(String::new()));
        }
        Ok(blocks)
    }

    async fn rebuilt(&self, position: MessageCursor) -> Result<Option<String>, StoreError> {
        let mut builder = ContextBuilder::new(self.inner.config.context_budget);
        let mut before = Some(position);
        while let Some(at) = before {
            let query = MessageQuery {
                before: Some(at),
                limit: Some(PAGE),
            };
            let page = self.inner.store.messages(&self.live.id, &query).await?;
            before = page.older;
            if !page.messages.iter().rev().all(|doc| builder.push(doc)) {
                break;
            }
        }
        Ok(builder.finish())
    }

    /// User messages right before this one that no turn has carried to the agent.
    async fn unheard(&self, position: MessageCursor) -> Result<Vec<String>, StoreError> {
        let query = MessageQuery {
            before: Some(position),
            limit: Some(PAGE),
        };
        let page = self.inner.store.messages(&self.live.id, &query).await?;
        let mut texts = Vec::new();
        for doc in page.messages.iter().rev() {
            let Some(message) = doc.message() else {
                continue;
            };
            if !matches!(message.info, MessageInfo::User(_))
                || self
                    .inner
                    .store
                    .turn_of_message(&self.live.id, &message.id)
                    .await?
                    .is_some()
            {
                break;
            }
            for part in doc.typed_parts().into_iter().rev() {
                if let PartBody::Text { text, ignored, .. } = part.body
                    && ignored != Some(true)
                {
                    texts.push(text);
                }
            }
        }
        texts.reverse();
        Ok(texts)
    }
}

fn block(body: PartBody) -> Option<PromptBlock> {
    match body {
        PartBody::Text { text, ignored, .. } => {
            (ignored != Some(true)).then_some(PromptBlock::Text(text))
        }
        PartBody::File {
            mime,
            filename,
            url,
            ..
        } => Some(file_block(mime, filename, url)),
        PartBody::Agent { name, .. } => Some(PromptBlock::Text(format!("@{name}"))),
        PartBody::Subtask {
            prompt,
            description,
            agent,
            ..
        } => Some(PromptBlock::Text(format!(
            "Do this as a sub-task with the agent {agent} ({description}):\n{prompt}"
        ))),
        _ => None,
    }
}

fn file_block(mime: String, filename: Option<String>, url: String) -> PromptBlock {
    let name = filename
        .or_else(|| {
            url.rsplit('/')
                .next()
                .filter(|n| !n.is_empty() && !url.starts_with("data:"))
                .map(str::to_owned)
        })
        .unwrap_or_else(|| "file".into());
    let Some((head, data)) = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(','))
    else {
        return PromptBlock::ResourceLink {
            uri: url,
            name,
            mime: Some(mime),
        };
    };
    let is_base64 = head.ends_with(";base64");
    if mime.starts_with("image/") && is_base64 {
        return PromptBlock::Image {
            mime,
            data_base64: data.to_owned(),
            uri: None,
        };
    }
    if mime.starts_with("audio/") && is_base64 {
        return PromptBlock::Audio {
            mime,
            data_base64: data.to_owned(),
        };
    }
    match decoded(data, is_base64) {
        Some(text) => PromptBlock::Resource {
            uri: format!("attachment:///{name}"),
            mime: Some(mime),
            text,
        },
        None => PromptBlock::Text(format!(
            "[a binary file {name} of type {mime} was attached; it can't be shown]"
        )),
    }
}

fn decoded(data: &str, is_base64: bool) -> Option<String> {
    use base64::Engine as _;
    if is_base64 {
        String::from_utf8(
            base64::engine::general_purpose::STANDARD
                .decode(data)
                .ok()?,
        )
        .ok()
    } else {
        urlencoding::decode(data)
            .ok()
            .map(std::borrow::Cow::into_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_the_block_that_fits() {
        let text = file_block(
            "text/plain".into(),
            Some("a.txt".into()),
            "data:text/plain;base64,aGk=".into(),
        );
        assert_eq!(
            text,
            PromptBlock::Resource {
                uri: "attachment:///a.txt".into(),
                mime: Some("text/plain".into()),
                text: "hi".into()
            }
        );
        let link = file_block("text/plain".into(), None, "file:///p/b.rs".into());
        assert!(matches!(link, PromptBlock::ResourceLink { name, .. } if name == "b.rs"));
        let image = file_block(
            "image/png".into(),
            None,
            "data:image/png;base64,AAAA".into(),
        );
        assert!(matches!(image, PromptBlock::Image { .. }));
        let binary = file_block(
            "application/zip".into(),
            None,
            "data:application/zip;base64,/w==".into(),
        );
        assert!(
            matches!(binary, PromptBlock::Text(t) if t.contains("file of type application/zip") || t.contains("application/zip"))
        );
    }
}
