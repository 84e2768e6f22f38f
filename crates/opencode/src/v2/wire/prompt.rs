//! What a person said.

use serde::Serialize;
use serde_json::Value;
use sessiond_model::{Part, PartBody};

/// A prompt: a text with what was given along.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PromptDto {
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileDto>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents: Vec<AgentDto>,
}

#[derive(Debug, PartialEq, Serialize)]
struct FileDto {
    uri: String,
    mime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceDto>,
}

#[derive(Debug, PartialEq, Serialize)]
struct AgentDto {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceDto>,
}

/// Where in the text it is named.
#[derive(Debug, PartialEq, Serialize)]
struct SourceDto {
    start: f64,
    end: f64,
    text: String,
}

impl SourceDto {
    /// The first family says it in two ways: for files below `text`.
    fn of(source: Option<&Value>) -> Option<Self> {
        let source = source?;
        let place = source
            .get("text")
            .filter(|t| t.is_object())
            .unwrap_or(source);
        Some(Self {
            start: place.get("start")?.as_f64()?,
            end: place.get("end")?.as_f64()?,
            text: place.get("value")?.as_str()?.to_owned(),
        })
    }
}

/// The prompt that these parts of a user message are.
pub(crate) fn prompt(parts: &[Part]) -> PromptDto {
    let mut texts = Vec::new();
    let mut said = PromptDto {
        text: String::new(),
        files: Vec::new(),
        agents: Vec::new(),
    };
    for part in parts {
        match &part.body {
            PartBody::Text {
                text,
                synthetic,
                ignored,
                ..
            } if *synthetic != Some(true) && *ignored != Some(true) => texts.push(text.as_str()),
            PartBody::Subtask { prompt, .. } => texts.push(prompt),
            PartBody::File {
                mime,
                filename,
                url,
                source,
            } => said.files.push(FileDto {
                uri: url.clone(),
                mime: mime.clone(),
                name: filename.clone(),
                source: SourceDto::of(source.as_ref()),
            }),
            PartBody::Agent { name, source } => said.agents.push(AgentDto {
                name: name.clone(),
                source: SourceDto::of(source.as_ref()),
            }),
            _ => {}
        }
    }
    said.text = texts.join("\n");
    said
}
