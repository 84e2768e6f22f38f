//! What the agent is sent for a prompt.

use std::collections::HashSet;

use sessiond_agent::PromptBlock;
use sessiond_model::{
    Message, MessageDoc, MessageId, MessageInfo, PartBody, RestoreRung, Turn, TurnKind,
};
use sessiond_store::{MessageCursor, MessageQuery, StoreError, TurnQuery};

use crate::actor::Actor;
use crate::context::{ContextBuilder, shell_run};
use crate::turn::COMPACTION_PROMPT;

/// Messages read at once while looking back.
const PAGE: u32 = 50;
/// Pages read in search of a summary once the budget of a context is spent.
const LOOK_BACK: usize = 40;
/// Most bytes told of what people did since the agent was last asked.
const UNHEARD: usize = 32 << 10;

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
                blocks.extend(self.rebuilt(&user.id).await?.map(PromptBlock::Text));
            }
            RestoreRung::New
            | RestoreRung::Live
            | RestoreRung::Resumed
            | RestoreRung::Loaded
            | RestoreRung::Forked => {
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

    /// Everything that was said, or the last summary and what came after it. What waits in the
    /// queue has not been said yet.
    async fn rebuilt(&self, asked: &MessageId) -> Result<Option<String>, StoreError> {
        let open = TurnQuery {
            open_only: true,
            ..TurnQuery::default()
        };
        let open = self.inner.store.turns(&self.live.id, &open).await?;
        let mut unsaid: HashSet<MessageId> = open.into_iter().flat_map(messages_of).collect();
        unsaid.insert(asked.clone());
        let mut builder = ContextBuilder::new(self.inner.config.context_budget);
        let mut spare = LOOK_BACK;
        let mut query = MessageQuery {
            before: None,
            limit: Some(PAGE),
        };
        loop {
            let page = self.inner.store.messages(&self.live.id, &query).await?;
            let mut said = page
                .messages
                .iter()
                .rev()
                .filter(|d| !unsaid.contains(&d.id));
            let goes_on = said.all(|doc| builder.push(doc));
            spare -= usize::from(builder.is_full());
            query.before = page.older;
            if !goes_on || query.before.is_none() || spare == 0 {
                return Ok(builder.finish());
            }
        }
    }

    /// What people said and ran since the agent was last asked something: messages that were
    /// only stored, and shell commands.
    async fn unheard(&self, position: MessageCursor) -> Result<Vec<String>, StoreError> {
        let query = MessageQuery {
            before: Some(position),
            limit: Some(PAGE),
        };
        let page = self.inner.store.messages(&self.live.id, &query).await?;
        let mut texts = Vec::new();
        let mut left = UNHEARD;
        for doc in page.messages.iter().rev() {
            let is_user = |m: Message| matches!(m.info, MessageInfo::User(_));
            if !doc.message().is_some_and(is_user) {
                continue;
            }
            let text = match self
                .inner
                .store
                .turn_of_message(&self.live.id, &doc.id)
                .await?
            {
                None => said(doc),
                Some(turn) if matches!(turn.kind, TurnKind::Shell { .. }) => {
                    self.run_by_person(&turn).await?
                }
                // It ended before the agent was asked.
                Some(turn) if turn.restore.is_none() => None,
                Some(_) => break,
            };
            let Some(text) = text else { continue };
            if text.len() > left {
                texts.push("[more was said and run before this; it is left out]".to_owned());
                break;
            }
            left -= text.len();
            texts.push(text);
        }
        texts.reverse();
        Ok(texts)
    }

    /// What came of a shell command of a person.
    async fn run_by_person(&self, turn: &Turn) -> Result<Option<String>, StoreError> {
        let Some(id) = &turn.assistant_message_id else {
            return Ok(None);
        };
        let doc = self.inner.store.message(&self.live.id, id).await?;
        Ok(doc.and_then(|doc| shell_run(&doc.typed_parts())))
    }
}

fn messages_of(turn: Turn) -> impl Iterator<Item = MessageId> {
    std::iter::once(turn.user_message_id).chain(turn.assistant_message_id)
}

/// The text of a message that was only stored.
fn said(doc: &MessageDoc) -> Option<String> {
    let texts: Vec<String> = doc
        .typed_parts()
        .into_iter()
        .filter_map(|part| match part.body {
            PartBody::Text { text, ignored, .. } => (ignored != Some(true)).then_some(text),
            _ => None,
        })
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
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
        PartBody::Compaction { .. } => Some(PromptBlock::Text(COMPACTION_PROMPT.to_owned())),
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
