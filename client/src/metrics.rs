//! Numbers for machines: the text format of Prometheus, and a listener that somebody has to switch on.
//!
//! What is told are counts and states. No name that was asked for and no address of who asked is among them.

mod page;

use std::fmt::{self, Write as _};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use page::page;

/// Where the numbers are.
pub const PATH: &str = "/metrics";

/// Longest request that is read.
const REQUEST_BYTES: usize = 8192;
/// Most headers of a request.
const HEADERS: usize = 64;
/// How long a visitor may take in all.
const VISIT: Duration = Duration::from_secs(5);
/// Visitors at once; more wait in the kernel.
const VISITORS: usize = 8;
/// Pause after the system had no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the program starts anew. By custom its name ends in `_total`.
    Counter,
    /// What is now.
    Gauge,
}

/// A page of numbers in the text format 0.0.4.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    text: String,
}

/// One metric, whose samples are told one after the other.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Exposition {
    /// An empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a metric. `name` is of letters, digits and underscores; each is started once.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        append(&mut self.text, format_args!("# HELP {name} {help}\n"));
        append(&mut self.text, format_args!("# TYPE {name} {kind}\n"));
        Family {
            name,
            text: &mut self.text,
        }
    }

    /// The page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// A sample under these labels, each set of them once.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        self.text.push_str(self.name);
        for (index, (label, content)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            append(self.text, format_args!("{label}=\""));
            for letter in content.chars() {
                match letter {
                    '\\' => self.text.push_str(r"\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str(r"\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        append(self.text, format_args!(" {value}\n"));
        self
    }

    /// The only sample.
    pub fn value(&mut self, value: u64) {
        self.sample(&[], value);
    }
}

fn append(text: &mut String, arguments: fmt::Arguments<'_>) {
    // A string takes whatever fits into memory.
    let _ = text.write_fmt(arguments);
}

/// Answers `GET /metrics` over HTTP/1.1, in cleartext and to whoever reaches it: bind it where that is right.
#[derive(Debug)]
pub struct MetricsListener {
    listener: TcpListener,
}

impl MetricsListener {
    /// Takes the address.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for as long as the future is polled; `collect` writes the page anew for each visitor.
    pub async fn serve<F, Page>(self, collect: F)
    where
        F: Fn() -> Page + Send + Sync + 'static,
        Page: Future<Output = Exposition> + Send,
    {
        let collect = Arc::new(collect);
        let turns = Arc::new(Semaphore::new(VISITORS));
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                return;
            };
            let visitor = match self.listener.accept().await {
                Ok((visitor, _)) => visitor,
                Err(error) => {
                    tracing::debug!(%error, "the listener for metrics");
                    tokio::time::sleep(EXHAUSTED).await;
                    continue;
                }
            };
            let collect = Arc::clone(&collect);
            tokio::spawn(async move {
                // Whoever is too slow or goes away is no failure of ours.
                let _ = timeout(VISIT, visit(visitor, &*collect)).await;
                drop(turn);
            });
        }
    }
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The page; without its content for HEAD.
    Page { head: bool },
    /// An answer without content.
    Refused(&'static str),
}

/// Judges the head of a request; none while it is not whole.
fn judge(request: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if request.len() < REQUEST_BYTES => return None,
        Ok(httparse::Status::Partial) => {
            return Some(Asked::Refused("431 Request Header Fields Too Large"));
        }
        Err(_) => return Some(Asked::Refused("400 Bad Request")),
    }
    let path = parsed.path.and_then(|path| path.split('?').next());
    Some(match (parsed.method, path) {
        (_, path) if path != Some(PATH) => Asked::Refused("404 Not Found"),
        (Some("GET"), _) => Asked::Page { head: false },
        (Some("HEAD"), _) => Asked::Page { head: true },
        _ => Asked::Refused("405 Method Not Allowed"),
    })
}

async fn visit<F, Page>(mut visitor: TcpStream, collect: &F) -> io::Result<()>
where
    F: Fn() -> Page,
    Page: Future<Output = Exposition>,
{
    let mut request = Vec::with_capacity(1024);
    let asked = loop {
        if let Some(asked) = judge(&request) {
            break asked;
        }
        let room = REQUEST_BYTES - request.len();
        if (&mut visitor)
            .take(room as u64)
            .read_buf(&mut request)
            .await?
            == 0
        {
            return Ok(());
        }
    };
    let (status, content, with_content) = match asked {
        Asked::Page { head } => ("200 OK", collect().await.into_text(), !head),
        Asked::Refused(status) => (status, String::new(), true),
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        content.len()
    );
    if with_content {
        answer.push_str(&content);
    }
    visitor.write_all(answer.as_bytes()).await?;
    visitor.shutdown().await
}

#[cfg(test)]
mod tests;
