//! How a turn ended, judged from its outcome and what was said in it.

use serde_json::Value;
use sessiond_model::{MessageError, TurnEnd, TurnFailure};

use super::content::text;
use crate::wire::AUTH_REQUIRED;
use crate::{Outcome, PromptResult, RpcError, Translator};

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its end.
    pub end: TurnEnd,
    /// The error for the assistant message.
    pub error: Option<MessageError>,
}

/// Why the model stopped, in the words of messages and steps.
pub(super) fn finish_reason(outcome: &Outcome, translator: &Translator) -> &'static str {
    let Outcome::Done(result) = outcome else {
        return "unknown";
    };
    if hidden_failure(result, translator).is_some() {
        return "unknown";
    }
    match result.stop_reason.as_str() {
        "end_turn" => "stop",
        "max_tokens" => "length",
        "max_turn_requests" => "tool-calls",
        "refusal" => "content-filter",
        _ => "unknown",
    }
}

/// Judges a turn. An agent's `end_turn` is not believed when it wrote nothing, or nothing
/// but an error.
#[must_use]
pub fn verdict(outcome: &Outcome, translator: &Translator) -> Verdict {
    match outcome {
        Outcome::Cancelled => aborted(),
        Outcome::Done(result) if result.stop_reason == "cancelled" => aborted(),
        Outcome::Done(result) => done(outcome, result, translator),
        Outcome::Failed(error) => failed(classify(error, &translator.ctx.agent)),
        Outcome::Died(why) => Verdict {
            end: TurnEnd::Interrupted(TurnFailure {
                code: "agent_exited".into(),
                message: why.clone(),
            }),
            error: Some(MessageError::Unknown {
                message: why.clone(),
                reference: None,
            }),
        },
    }
}

fn aborted() -> Verdict {
    Verdict {
        end: TurnEnd::Aborted,
        error: Some(MessageError::Aborted {
            message: "Aborted".into(),
        }),
    }
}

fn failed(error: MessageError) -> Verdict {
    let code = match error {
        MessageError::Auth { .. } => "auth_required",
        _ => "agent_error",
    };
    Verdict {
        end: TurnEnd::Failed(TurnFailure {
            code: code.into(),
            message: error.message().to_owned(),
        }),
        error: Some(error),
    }
}

fn done(outcome: &Outcome, result: &PromptResult, translator: &Translator) -> Verdict {
    if let Some(error) = hidden_failure(result, translator) {
        return failed(error);
    }
    let finish = finish_reason(outcome, translator).to_owned();
    let error = (finish == "content-filter").then(|| MessageError::ContentFilter {
        message: "The model refused to answer".into(),
    });
    Verdict {
        end: TurnEnd::Completed { finish },
        error,
    }
}

/// Failures that agents end as if they were answers.
fn hidden_failure(result: &PromptResult, translator: &Translator) -> Option<MessageError> {
    let heard = translator.heard;
    if result.stop_reason != "end_turn" || heard.named_text || heard.other {
        return None;
    }
    let nothing_counted = match result.raw.get("usage") {
        Some(Value::Null) => true,
        Some(_) => result.usage.is_some_and(|u| u.input + u.output == 0),
        // Agents that count elsewhere say nothing by saying nothing here.
        None => false,
    };
    let message = match (heard.unnamed_text, nothing_counted) {
        (false, _) => "The agent ended its turn without an answer".to_owned(),
        (true, true) => unwrapped(translator.text().trim()),
        (true, false) => return None,
    };
    Some(MessageError::Api {
        message,
        status_code: None,
        is_retryable: false,
    })
}

/// The HTTP status of the model's API, where agents put it.
fn http_status(error: &RpcError) -> Option<u16> {
    let data = error.data.as_ref();
    [
        Some(error.code),
        data.and_then(|d| d["statusCode"].as_i64()),
        data.and_then(|d| d["status"].as_i64()),
    ]
    .into_iter()
    .flatten()
    .find(|code| (400..600).contains(code))
    .and_then(|code| u16::try_from(code).ok())
}

/// The sentence in an error that agents pass on as the JSON that they got.
fn unwrapped(message: &str) -> String {
    let json: Option<Value> = serde_json::from_str(message).ok();
    json.as_ref()
        .and_then(|json| text(&json["error"], "message").or_else(|| text(json, "message")))
        .unwrap_or(message)
        .to_owned()
}

/// The sentence in an error, which some hide in the data behind an "Internal error".
fn sentence(error: &RpcError) -> String {
    let detail = error
        .data
        .as_ref()
        .and_then(|data| text(data, "message").or_else(|| text(data, "details")));
    match detail {
        Some(detail) if error.message.is_empty() || error.message == "Internal error" => {
            detail.to_owned()
        }
        _ if error.message.is_empty() => format!("The agent failed (code {})", error.code),
        _ => unwrapped(&error.message),
    }
}

fn classify(error: &RpcError, agent: &str) -> MessageError {
    let message = sentence(error);
    let status_code = http_status(error);
    if error.code == AUTH_REQUIRED || matches!(status_code, Some(401 | 403)) {
        return MessageError::Auth {
            provider_id: agent.to_owned(),
            message,
        };
    }
    let names_api = error
        .data
        .as_ref()
        .is_some_and(|data| data["errorName"] == "APIError");
    if status_code.is_some() || names_api || error.code == INTERNAL_ERROR {
        return MessageError::Api {
            message,
            status_code,
            is_retryable: matches!(status_code, Some(429 | 500..=599)),
        };
    }
    MessageError::Unknown {
        message,
        reference: None,
    }
}

/// The code under which agents report that a model call failed.
const INTERNAL_ERROR: i64 = -32603;
