//! HTTP/1.1 as far as the bench needs it. Servers and driver share the processors, so that
//! every cycle spent here is taken from what is measured: requests are bytes written in one
//! call, answers are found complete and are otherwise left alone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::{BenchError, Result};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server listens, and what every request to it carries.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) addr: SocketAddr,
    /// Before every path.
    pub(crate) base: &'static str,
    /// A header line with its end, or nothing.
    pub(crate) auth: &'static str,
}

impl Endpoint {
    /// Appends a request to `out`.
    pub(crate) fn write(&self, method: &str, path: &str, body: Option<&str>, out: &mut Vec<u8>) {
        let Self { addr, base, auth } = self;
        out.extend_from_slice(
            format!("{method} {base}{path} HTTP/1.1\r\nhost: {addr}\r\n{auth}").as_bytes(),
        );
        if let Some(body) = body {
            out.extend_from_slice(
                format!(
                    "content-type: application/json\r\ncontent-length: {}\r\n",
                    body.len()
                )
                .as_bytes(),
            );
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body.unwrap_or_default().as_bytes());
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<Vec<u8>> {
        let mut request = Vec::new();
        self.write(method, path, body, &mut request);
        let mut connection = Connection::open(self.addr).await?;
        connection.ask(&request).await?;
        Ok(std::mem::take(&mut connection.body))
    }
}

/// A connection that is kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The body of the last answer.
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)
            .await
            .map_err(BenchError::io(format!("cannot connect to {addr}")))?;
        stream
            .set_nodelay(true)
            .map_err(BenchError::io("cannot set TCP_NODELAY"))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 << 10),
            body: Vec::new(),
        })
    }

    /// Sends `request` and reads its answer, which must have a 2xx status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<()> {
        tokio::time::timeout(PATIENCE, self.exchange(request))
            .await
            .map_err(|_| BenchError::Timeout {
                request: first_line(request),
                seconds: PATIENCE.as_secs(),
            })?
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        let head = self.send(request).await?;
        self.body.clear();
        match head.length {
            Length::Known(length) => {
                while self.buffer.len() < head.end + length {
                    self.read(request).await?;
                }
                self.body
                    .extend_from_slice(&self.buffer[head.end..head.end + length]);
            }
            Length::Chunked => {
                let mut chunks = Dechunk::default();
                let mut from = head.end;
                loop {
                    chunks
                        .feed(&self.buffer[from..], &mut self.body)
                        .map_err(|reason| protocol(request, reason))?;
                    if chunks.done() {
                        break;
                    }
                    from = self.buffer.len();
                    self.read(request).await?;
                }
            }
        }
        if !(200..300).contains(&head.status) {
            return Err(BenchError::Status {
                request: first_line(request),
                status: head.status,
                body: String::from_utf8_lossy(&self.body[..self.body.len().min(500)]).into_owned(),
            });
        }
        Ok(())
    }

    /// Sends a request for a stream of events and reads until its first bytes may come.
    pub(crate) async fn subscribe(mut self, request: &[u8]) -> Result<EventStream> {
        let head = self.send(request).await?;
        if head.status != 200 {
            return Err(BenchError::Status {
                request: first_line(request),
                status: head.status,
                body: String::new(),
            });
        }
        let mut stream = EventStream {
            stream: self.stream,
            chunks: matches!(head.length, Length::Chunked).then(Dechunk::default),
            raw: Vec::with_capacity(16 << 10),
            pending: Vec::new(),
        };
        stream.take(&self.buffer[head.end..])?;
        Ok(stream)
    }

    async fn send(&mut self, request: &[u8]) -> Result<Head> {
        self.stream
            .write_all(request)
            .await
            .map_err(BenchError::io(format!(
                "cannot send {}",
                first_line(request)
            )))?;
        self.buffer.clear();
        loop {
            self.read(request).await?;
            let head = Head::parse(&self.buffer).map_err(|reason| protocol(request, reason))?;
            if let Some(head) = head {
                return Ok(head);
            }
        }
    }

    async fn read(&mut self, request: &[u8]) -> Result<()> {
        let n = self
            .stream
            .read_buf(&mut self.buffer)
            .await
            .map_err(BenchError::io(format!(
                "cannot read the answer to {}",
                first_line(request)
            )))?;
        if n == 0 {
            Err(protocol(request, "the connection was closed"))
        } else {
            Ok(())
        }
    }
}

/// A stream of server-sent events.
#[derive(Debug)]
pub(crate) struct EventStream {
    stream: TcpStream,
    chunks: Option<Dechunk>,
    raw: Vec<u8>,
    pending: Vec<u8>,
}

impl EventStream {
    /// Waits for bytes and hands on every line that is complete.
    pub(crate) async fn lines(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut start = 0;
        while let Some(end) = self.pending[start..].iter().position(|b| *b == b'\n') {
            each(&self.pending[start..start + end]);
            start += end + 1;
        }
        self.pending.drain(..start);
        self.raw.clear();
        let n = self
            .stream
            .read_buf(&mut self.raw)
            .await
            .map_err(BenchError::io("cannot read an event stream"))?;
        if n == 0 {
            return Err(protocol(b"an event stream", "the connection was closed"));
        }
        let raw = std::mem::take(&mut self.raw);
        let taken = self.take(&raw);
        self.raw = raw;
        taken
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.chunks {
            None => self.pending.extend_from_slice(bytes),
            Some(chunks) => chunks
                .feed(bytes, &mut self.pending)
                .map_err(|reason| protocol(b"an event stream", reason))?,
        }
        Ok(())
    }
}

fn first_line(request: &[u8]) -> String {
    let line = request.split(|b| *b == b'\r').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

fn protocol(request: &[u8], reason: &'static str) -> BenchError {
    BenchError::Protocol {
        request: first_line(request),
        reason,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
    /// Where the body begins.
    end: usize,
}

impl Head {
    /// `None` while the head is incomplete.
    fn parse(bytes: &[u8]) -> std::result::Result<Option<Self>, &'static str> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "its head is not UTF-8")?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
            .ok_or("it has no status")?;
        let mut length = Length::Known(0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                let bytes = value
                    .trim()
                    .parse()
                    .map_err(|_| "its content-length is no number")?;
                length = Length::Known(bytes);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            }
        }
        Ok(Some(Self {
            status,
            length,
            end: end + 4,
        }))
    }
}

/// Takes the chunks out of a chunked body, however the bytes arrive.
#[derive(Debug, Default)]
struct Dechunk {
    at: At,
    left: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// After the size: an extension, then the end of the line.
    SizeEnd,
    Data,
    DataEnd,
    /// After the last chunk; whether the line has something on it.
    Trailer(bool),
    Done,
}

impl Dechunk {
    fn done(&self) -> bool {
        self.at == At::Done
    }

    fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), &'static str> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.at == At::Data {
                let (data, rest) = bytes.split_at(self.left.min(bytes.len()));
                out.extend_from_slice(data);
                self.left -= data.len();
                if self.left == 0 {
                    self.at = At::DataEnd;
                }
                bytes = rest;
                continue;
            }
            bytes = rest;
            self.at = match (&self.at, byte) {
                (At::Size, b'\r' | b';') => At::SizeEnd,
                (At::Size, _) => {
                    let digit = char::from(byte).to_digit(16).ok_or("a chunk has no size")?;
                    self.left = self.left << 4 | digit as usize;
                    At::Size
                }
                (At::SizeEnd, b'\n') if self.left == 0 => At::Trailer(false),
                (At::SizeEnd, b'\n') => At::Data,
                (At::SizeEnd, _) => At::SizeEnd,
                (At::DataEnd, b'\n') => At::Size,
                (At::DataEnd, _) => At::DataEnd,
                (At::Trailer(false), b'\n') => At::Done,
                (At::Trailer(_), b'\n') => At::Trailer(false),
                (At::Trailer(seen), b'\r') => At::Trailer(*seen),
                (At::Trailer(_), _) => At::Trailer(true),
                (At::Data | At::Done, _) => return Err("bytes follow its end"),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_waits_for_its_end() {
        let text = b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\nrest";
        assert_eq!(Head::parse(&text[..40]), Ok(None));
        let head = Head {
            status: 204,
            length: Length::Known(7),
            end: text.len() - 4,
        };
        assert_eq!(Head::parse(text), Ok(Some(head)));
        assert!(Head::parse(b"SSH-2.0\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_come_out_the_same_however_they_are_cut() {
        let text = b"5\r\nhello\r\n11;x=y\r\n, wide wide world\r\n0\r\nA: b\r\n\r\n";
        for cut in 0..text.len() {
            let (mut chunks, mut out) = (Dechunk::default(), Vec::new());
            chunks.feed(&text[..cut], &mut out).unwrap();
            assert!(!chunks.done());
            chunks.feed(&text[cut..], &mut out).unwrap();
            assert!(chunks.done(), "{cut}");
            assert_eq!(out, b"hello, wide wide world");
        }
        assert!(Dechunk::default().feed(b"zz\r\n", &mut Vec::new()).is_err());
    }
}
