//! A line between a client and a server that can be cut, stalled, or cut at the very moment when a
//! transaction commits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The bytes that a client is known by: what it asks for TLS with, and what it begins with.
const START: usize = 64;

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes go through.
    Whole,
    /// Bytes wait.
    Stalled,
    /// Connections end, and no new one comes about.
    Cut,
}

/// When a COMMIT meets its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCommit {
    /// The connection ends; the server never hears of the COMMIT.
    CutBefore,
    /// The server hears it; the connection ends when it has answered, and the answer is lost.
    CutAfter,
    /// The line stalls before the server hears of it, until [`Line::mend`].
    Hold,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: watch::Sender<State>,
    /// Raised to end the connections that there are.
    cuts: watch::Sender<u64>,
    armed: Mutex<Option<(AtCommit, &'static [u8])>>,
    met: AtomicUsize,
}

/// The line. It ends when this is dropped.
#[derive(Debug)]
pub struct Line {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Line {
    /// A line to `upstream`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn to(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            state: watch::Sender::new(State::Whole),
            cuts: watch::Sender::new(0),
            armed: Mutex::new(None),
            met: AtomicUsize::new(0),
        });
        let task = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { addr, shared, task })
    }

    /// Where clients connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Ends all connections; new ones come about.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends all connections and refuses new ones, until [`mend`](Self::mend).
    pub fn cut_off(&self) {
        self.shared.state.send_replace(State::Cut);
        self.cut();
    }

    /// Lets no byte through, until [`mend`](Self::mend).
    pub fn stall(&self) {
        self.shared.state.send_replace(State::Stalled);
    }

    /// Lets everything through.
    pub fn mend(&self) {
        self.shared.state.send_replace(State::Whole);
    }

    /// What happens to the next COMMIT of a connection whose first bytes contain `client`.
    pub fn at_commit(&self, what: AtCommit, client: &'static str) {
        *self.shared.armed.lock() = Some((what, client.as_bytes()));
    }

    /// How many COMMITs were met.
    #[must_use]
    pub fn met(&self) -> usize {
        self.shared.met.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if *shared.state.borrow() != State::Cut {
            connections.spawn(connection(client, shared.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.upstream).await else {
        return;
    };
    // How it was set up is of no matter for what is tested here.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut cuts = shared.cuts.subscribe();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Set when the answer that comes next is to be lost.
    let lose = Arc::new(Mutex::new(false));
    tokio::select! {
        _ = cuts.changed() => {}
        () = ask(from_client, to_server, &shared, &lose) => {}
        () = answer(from_server, to_client, &shared, &lose) => {}
    }
}

async fn whole(shared: &Shared) {
    let mut state = shared.state.subscribe();
    // Fails only when the line is gone, and this with it.
    let _ = state.wait_for(|state| *state != State::Stalled).await;
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, lose: &Mutex<bool>) {
    let mut start = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let bytes = &buffer[..count];
        if start.len() < START {
            start.extend_from_slice(bytes);
        }
        if contains(bytes, b"COMMIT\0") {
            let armed = {
                let mut armed = shared.armed.lock();
                armed.take_if(|(_, client)| contains(&start, client))
            };
            match armed.map(|(what, _)| what) {
                Some(AtCommit::CutBefore) => {
                    shared.met.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                Some(AtCommit::CutAfter) => *lose.lock() = true,
                Some(AtCommit::Hold) => {
                    shared.state.send_replace(State::Stalled);
                    shared.met.fetch_add(1, Ordering::SeqCst);
                }
                None => {}
            }
        }
        whole(shared).await;
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    lose: &Mutex<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let bytes = &buffer[..count];
        if *lose.lock() && contains(bytes, b"COMMIT\0") {
            shared.met.fetch_add(1, Ordering::SeqCst);
            return;
        }
        whole(shared).await;
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
