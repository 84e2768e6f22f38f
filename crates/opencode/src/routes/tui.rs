//! `/tui/*`: what programs ask of the user interfaces that look at a directory. It is told on
//! the event streams; whoever listens does it.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use sessiond_engine::NoticeBody;

use crate::decode::tui as decode;
use crate::extract::{self, Payload, Reply, Selected};
use crate::state::App;

/// How long one look for a request is held.
const HOLD: Duration = Duration::from_secs(30);

pub(crate) fn router() -> Router<App> {
    let fixed = [
        ("/tui/submit-prompt", "prompt.submit"),
        ("/tui/clear-prompt", "prompt.clear"),
        ("/tui/open-help", "help.show"),
        ("/tui/open-sessions", "session.list"),
        ("/tui/open-themes", "theme.switch"),
        ("/tui/open-models", "model.list"),
    ];
    let router = Router::new()
        .route("/tui/append-prompt", post(append))
        .route("/tui/execute-command", post(execute))
        .route("/tui/show-toast", post(toast))
        .route("/tui/select-session", post(select))
        .route("/tui/publish", post(publish))
        .route("/tui/control/next", get(control_next))
        .route("/tui/control/response", post(control_response));
    fixed.into_iter().fold(router, |router, (path, command)| {
        let handler = move |State(app): State<App>, at: Selected| async move {
            tell(&app, &at, NoticeBody::InterfaceCommand(command.to_owned())).await
        };
        router.route(path, post(handler))
    })
}

async fn tell(app: &App, at: &Selected, body: NoticeBody) -> Reply {
    app.engine.announce(at.directory.as_deref(), body).await?;
    extract::json(&true)
}

async fn append(State(app): State<App>, at: Selected, body: Payload) -> Reply {
    tell(&app, &at, decode::append(body.0)?).await
}

async fn execute(State(app): State<App>, at: Selected, body: Payload) -> Reply {
    tell(&app, &at, decode::execute(body.0)?).await
}

async fn toast(State(app): State<App>, at: Selected, body: Payload) -> Reply {
    tell(&app, &at, decode::toast(body.0)?).await
}

async fn select(State(app): State<App>, at: Selected, body: Payload) -> Reply {
    let session = app.engine.session(&decode::select(body.0)?).await?;
    tell(&app, &at, NoticeBody::SessionSelected(session.id)).await
}

async fn publish(State(app): State<App>, at: Selected, body: Payload) -> Reply {
    let said = decode::publish(body.0)?;
    if let NoticeBody::SessionSelected(id) = &said {
        app.engine.session(id).await?;
    }
    tell(&app, &at, said).await
}

/// The next request that waits for a user interface to answer it. Neither OpenCode 1.18.33 nor
/// sessiond makes such requests, so there is none however long one waits; where OpenCode lets
/// the client wait for ever, it is told so after a while.
async fn control_next(_: Selected) -> Reply {
    tokio::time::sleep(HOLD).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An answer to such a request: nothing waits for it.
async fn control_response(_: Selected, _: Payload) -> Reply {
    extract::json(&false)
}
