//! Connections: accepting, bounding, ending them.

mod io;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::Limits;
use crate::front::Front;
use crate::server::Stop;

/// Largest request head, and most that is buffered of a request or a reply: what a client
/// that does not read can hold of our memory.
const MAX_BUFFER: usize = 64 * 1024;
/// Pause when the system has no more file descriptors for us.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// To connections above the limit.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-type: application/json\r\ncontent-length: 42\r\nconnection: close\r\n\r\n\
    {\"message\":\"Too many connections at once\"}";

/// Serves connections until `stop` says so; then those that are open finish the request they are
/// at, and close.
pub(crate) async fn accept(
    listener: TcpListener,
    front: Arc<Front>,
    limits: Limits,
    connections: TaskTracker,
    stop: Stop,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_header_size(MAX_BUFFER)
        .max_buf_size(MAX_BUFFER);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.stopping.cancelled() => return,
        };
        match accepted {
            Ok((mut stream, _)) => {
                if connections.len() >= limits.connections {
                    // Best effort: the socket's empty buffer takes this at once.
                    let _ = stream.write_all(FULL).now_or_never();
                    continue;
                }
                let served = serve(stream, builder.clone(), front.clone(), limits, stop.clone());
                connections.spawn(served);
            }
            Err(e) if is_of_the_peer(&e) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Whether a failed accept says something of that one peer only.
fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn serve(
    stream: TcpStream,
    builder: http1::Builder,
    front: Arc<Front>,
    limits: Limits,
    stop: Stop,
) {
    if let Err(error) = io::prepare(&stream, limits.write_timeout) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let service = service_fn(|request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(front.answer(request).await) }
    });
    front.metrics().connections.fetch_add(1, Ordering::Relaxed);
    let io = TokioIo::new(io::WriteTimeout::new(stream, limits.write_timeout));
    let mut connection = pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = stop.cut.cancelled() => Ok(()),
            }
        }
    };
    front.metrics().connections.fetch_sub(1, Ordering::Relaxed);
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
