//! One notice of the engine as an event of OpenCode.

use serde::Serialize;
use sessiond_engine::{Notice, NoticeBody};
use sessiond_model::{FileDiff, MessageId, SessionId};

use super::ids;
use super::map::{Global, Payload, join, json};
use super::stream::Surface;

/// The directory that OpenCode names where none is meant.
const EVERYWHERE: &str = "global";

/// What a notice says; one shape per type.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Said<'a> {
    Nothing {},
    Session {
        #[serde(rename = "sessionID")]
        session_id: Option<&'a SessionId>,
    },
    Diff {
        #[serde(rename = "sessionID")]
        session_id: Option<&'a SessionId>,
        diff: &'a [FileDiff],
    },
    Executed {
        name: &'a str,
        #[serde(rename = "sessionID")]
        session_id: Option<&'a SessionId>,
        arguments: &'a str,
        #[serde(rename = "messageID")]
        message_id: &'a MessageId,
    },
    Toast {
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        message: &'a str,
        variant: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<u64>,
    },
    Text {
        text: &'a str,
    },
    Command {
        command: &'a str,
    },
    Directory {
        directory: Option<&'a str>,
    },
    Integration {
        #[serde(rename = "integrationID")]
        integration_id: &'a str,
    },
    Branch {
        #[serde(skip_serializing_if = "Option::is_none")]
        branch: Option<&'a str>,
    },
}

/// The frame of a notice.
pub(super) fn frame(surface: Surface, n: &Notice) -> Vec<u8> {
    let is_for_all = n.directory.is_none()
        && matches!(
            n.body,
            NoticeBody::AllDropped | NoticeBody::OffersChanged { .. }
        );
    if is_for_all && surface == Surface::Directory {
        return Vec::new();
    }
    let id = ids::notice(n);
    let Some((r#type, said)) = said(n) else {
        return Vec::new();
    };
    let payload = Payload {
        id: &id,
        r#type,
        properties: &said,
    };
    let frame = match surface {
        Surface::Directory => json(&payload),
        Surface::Global => json(&Global {
            directory: n.directory.as_deref().or(Some(EVERYWHERE)),
            project: n.project_id.as_ref(),
            payload,
        }),
    };
    let mut frames = vec![frame];
    if let (NoticeBody::OffersChanged { agent }, true) = (&n.body, is_for_all) {
        frames.extend(look_again(n, agent));
    }
    join(&frames, None)
}

/// What makes OpenCode's interfaces fetch the models on offer anew. The web interface does when a
/// provider is connected; the terminal's when a directory is given up, whichever it is. That is one
/// that nobody has open: `attach --mini` would end its session if it were its own.
fn look_again(n: &Notice, agent: &str) -> [Vec<u8>; 2] {
    let event = |id: &str, r#type, properties: &Said<'_>| {
        json(&Global {
            directory: Some(EVERYWHERE),
            project: None,
            payload: Payload {
                id,
                r#type,
                properties,
            },
        })
    };
    let connected = Said::Integration {
        integration_id: agent,
    };
    let dropped = Said::Directory {
        directory: Some(EVERYWHERE),
    };
    [
        event(
            &ids::after_notice(n, 'O'),
            "integration.connection.updated",
            &connected,
        ),
        event(
            &ids::after_notice(n, 'P'),
            "server.instance.disposed",
            &dropped,
        ),
    ]
}

/// The type and the content of a notice; `None` when only `/api/*` has a word for it.
pub(crate) fn said(n: &Notice) -> Option<(&'static str, Said<'_>)> {
    let session_id = n.session_id.as_ref();
    Some(match &n.body {
        NoticeBody::Switched { .. } => return None,
        NoticeBody::DiffChanged(diff) => ("session.diff", Said::Diff { session_id, diff }),
        NoticeBody::CommandExecuted {
            name,
            arguments,
            message_id,
        } => (
            "command.executed",
            Said::Executed {
                name,
                session_id,
                arguments,
                message_id,
            },
        ),
        NoticeBody::Compacted => ("session.compacted", Said::Session { session_id }),
        NoticeBody::Toast {
            title,
            message,
            variant,
            duration,
        } => (
            "tui.toast.show",
            Said::Toast {
                title: title.as_deref(),
                message,
                variant: variant.as_str(),
                duration: *duration,
            },
        ),
        NoticeBody::PromptAppended(text) => ("tui.prompt.append", Said::Text { text }),
        NoticeBody::InterfaceCommand(command) => ("tui.command.execute", Said::Command { command }),
        NoticeBody::SessionSelected(id) => (
            "tui.session.select",
            Said::Session {
                session_id: Some(id),
            },
        ),
        NoticeBody::BranchChanged(branch) => {
            let branch = branch.as_deref();
            ("vcs.branch.updated", Said::Branch { branch })
        }
        NoticeBody::OffersChanged { .. } => ("catalog.updated", Said::Nothing {}),
        NoticeBody::DirectoryDropped => (
            "server.instance.disposed",
            Said::Directory {
                directory: n.directory.as_deref(),
            },
        ),
        NoticeBody::AllDropped => ("global.disposed", Said::Nothing {}),
    })
}
