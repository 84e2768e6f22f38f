//! Event streams under shutdown.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a stream must have had nothing to say before it is ended.
const QUIET: Duration = Duration::from_millis(300);

/// A stream that ends some time after `stopping`: when it has said what it had to say.
///
/// It ends with an error, that is, without HTTP's end mark: OpenCode's SDK takes a clean end
/// for the end of all events and never comes back, while it reconnects after a broken one.
pub(crate) struct UntilStopped {
    inner: Body,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    quiet: Option<Pin<Box<Sleep>>>,
}

impl UntilStopped {
    pub(crate) fn new(inner: Body, stopping: CancellationToken) -> Self {
        Self {
            inner,
            stopping: Box::pin(stopping.cancelled_owned()),
            quiet: None,
        }
    }
}

impl HttpBody for UntilStopped {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.quiet = None;
            return Poll::Ready(frame);
        }
        if self.quiet.is_none() {
            std::task::ready!(self.stopping.as_mut().poll(cx));
        }
        let quiet = self.quiet.get_or_insert_with(|| Box::pin(sleep(QUIET)));
        std::task::ready!(quiet.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new("the server is stopping"))))
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt as _, StreamExt as _};
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_broken_when_stopped_and_quiet() {
        let (mut tx, rx) = futures::channel::mpsc::channel::<Result<Bytes, axum::Error>>(8);
        let stop = CancellationToken::new();
        let mut body = UntilStopped::new(Body::from_stream(rx.boxed()), stop.clone());

        tx.send(Ok("one".into())).await.unwrap();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "one"
        );
        stop.cancel();
        tx.send(Ok("last".into())).await.unwrap();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "last"
        );
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn its_own_end_stays_clean() {
        let mut body = UntilStopped::new(Body::empty(), CancellationToken::new());
        assert!(body.frame().await.is_none());
    }
}
