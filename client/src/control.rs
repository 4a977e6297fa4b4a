//! The control socket: a Unix socket on which a daemon tells about itself and takes orders.
//!
//! One JSON object a line in each direction. A request is `{"command": NAME, ...arguments}`; a reply
//! is `{"ok": VALUE}` or `{"error": {"message": TEXT, "hint": TEXT or null}}`. The socket's mode and
//! the folder that it lies in decide who may ask.

mod crowd;

use std::future::Future;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crowd::{Crowd, Presence};

pub use crowd::CONTROL_CONNECTIONS_PER_USER;

/// Connections served at a time; more wait in the socket's backlog.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;
/// Longest request, in bytes, its line feed included.
pub const CONTROL_REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// The same of root and the daemon's own user: room for what is imported.
pub const CONTROL_IMPORT_BYTES_MAX: u64 = 6 * 1024 * 1024;
/// Longest reply, in bytes, its line feed included.
pub const CONTROL_REPLY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long one side waits for the other's next line. A walk, the slowest order, fits well within.
pub const CONTROL_IDLE: Duration = Duration::from_secs(30);

/// An order or a question: its name, and arguments that depend on the name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked for, such as `status`.
    pub command: String,
    /// Named arguments.
    #[serde(flatten)]
    pub arguments: Map<String, Value>,
}

impl Request {
    /// A request without arguments.
    pub fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            arguments: Map::new(),
        }
    }

    /// Adds a named argument.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
    }

    /// The text argument of this name, if there is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name)?.as_str()
    }
}

/// Who is at the other end of the socket: the kernel's word, as of when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The process; none where the kernel does not tell, as across namespaces.
    pub pid: Option<i32>,
}

impl Caller {
    /// Whether it is root, or the user `own` that the daemon runs as.
    #[must_use]
    pub fn is_privileged(self, own: u32) -> bool {
        self.uid == 0 || self.uid == own
    }
}

/// Why a daemon did not do what was asked: told to the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Rejection {
    /// What is wrong.
    pub message: String,
    /// What would help.
    #[serde(default)]
    pub hint: Option<String>,
    /// The stable name of the reason, where somebody is not trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Rejection {
    /// A rejection without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            reason: None,
        }
    }

    /// For a request whose name the daemon does not know.
    pub fn unknown_command(request: &Request) -> Self {
        Self {
            message: format!("the daemon does not know the command '{}'", request.command),
            hint: Some("the tool and the daemon may be of different versions".to_owned()),
            reason: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Ok(Value),
    Error(Rejection),
}

/// Why a control socket could not be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another daemon answers on this path.
    #[error("{}: another daemon is already listening here", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The socket could not be made.
    #[error("{}: cannot open the control socket: {source}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing listens there: the daemon does not run, or keeps its socket elsewhere.
    #[error("{}: no daemon is listening here", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The conversation broke off.
    #[error("{}: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon did not answer within [`CONTROL_IDLE`].
    #[error("{}: the daemon did not answer within {} seconds", path.display(), CONTROL_IDLE.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// What came back is no reply of this protocol.
    #[error("{}: not a reply of a control socket: {reason}", path.display())]
    Malformed {
        /// The socket.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The daemon understood, and declined.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// The daemon's end. The socket is removed when this is dropped, if it is still the one made here.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl ControlServer {
    /// Makes the socket with these permission bits, in place of one that a crash left behind.
    ///
    /// The socket gets its mode before it gets its name, so that no one ever meets it with another.
    /// Call within a tokio runtime.
    pub async fn bind(path: &Path, mode: u32) -> Result<Self, ControlError> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(ControlError::InUse {
                path: path.to_owned(),
            });
        }
        Self::place(path, mode).map_err(|source| ControlError::Bind {
            path: path.to_owned(),
            source,
        })
    }

    fn place(path: &Path, mode: u32) -> io::Result<Self> {
        if std::fs::symlink_metadata(path).is_ok_and(|found| {
            use std::os::unix::fs::FileTypeExt;
            !found.file_type().is_socket()
        }) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something here that is not a socket",
            ));
        }
        let mut unnamed = path.as_os_str().to_owned();
        unnamed.push(format!(".{}", std::process::id()));
        let unnamed = PathBuf::from(unnamed);
        match std::fs::remove_file(&unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unnamed)?;
        std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(&unnamed, path)?;
        let inode = std::fs::symlink_metadata(path)?.ino();
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
        })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until dropped. A connection may ask one thing after another.
    pub async fn serve<H, F>(self, handler: H)
    where
        H: Fn(Request, Caller) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, Rejection>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let permits = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
        let crowd = Arc::new(Crowd::default());
        loop {
            let permit = Arc::clone(&permits)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let Some(presence) = admit(&crowd, &stream) else {
                        continue;
                    };
                    let handler = Arc::clone(&handler);
                    tokio::spawn(async move {
                        let _permit = permit;
                        if let Err(error) = converse(stream, presence.caller, &*handler).await {
                            tracing::debug!(%error, "control connection ended early");
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: asking again at once would spin.
                    tracing::warn!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// None where the kernel does not say who it is, or this user is here often enough.
fn admit(crowd: &Arc<Crowd>, stream: &UnixStream) -> Option<Presence> {
    let cred = stream.peer_cred().ok()?;
    let (uid, pid) = (cred.uid(), cred.pid());
    let own = nix::unistd::geteuid().as_raw();
    let presence = crowd.enter(Caller { uid, pid }, own);
    if presence.is_none() {
        tracing::debug!(uid, "too many control connections of one user");
    }
    presence
}

async fn converse<H, F>(stream: UnixStream, caller: Caller, handler: &H) -> io::Result<()>
where
    H: Fn(Request, Caller) -> F,
    F: Future<Output = Result<Value, Rejection>>,
{
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let most = match caller.is_privileged(nix::unistd::geteuid().as_raw()) {
        true => CONTROL_IMPORT_BYTES_MAX,
        false => CONTROL_REQUEST_BYTES_MAX,
    };
    loop {
        let mut line = Vec::new();
        let limited = (&mut read).take(most);
        match timeout(CONTROL_IDLE, { limited }.read_until(b'\n', &mut line)).await {
            Err(_) | Ok(Ok(0)) => return Ok(()),
            Ok(read) => read?,
        };
        let whole = line.ends_with(b"\n");
        let reply = if !whole && line.len() as u64 == most {
            Reply::Error(Rejection::new(format!(
                "a request has at most {most} bytes"
            )))
        } else {
            match serde_json::from_slice(&line) {
                Ok(request) => handler(request, caller)
                    .await
                    .map_or_else(Reply::Error, Reply::Ok),
                Err(error) => Reply::Error(Rejection::new(format!("not a request: {error}"))),
            }
        };
        let mut bytes = serde_json::to_vec(&reply).map_err(io::Error::other)?;
        bytes.push(b'\n');
        timeout(CONTROL_IDLE, write.write_all(&bytes))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if !whole {
            return Ok(());
        }
    }
}

/// Asks the daemon behind `path` one thing.
pub async fn call(path: &Path, request: &Request) -> Result<Value, ControlError> {
    call_patiently(path, request, CONTROL_IDLE).await
}

/// The same, where the daemon may need this long: somebody has to type a password, say.
pub async fn call_patiently(
    path: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Value, ControlError> {
    let broken = |source: io::Error| ControlError::Broken {
        path: path.to_owned(),
        source,
    };
    let malformed = |reason: String| ControlError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let mut stream = UnixStream::connect(path).await.map_err(|source| {
        if matches!(
            source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        ) {
            ControlError::NotRunning {
                path: path.to_owned(),
            }
        } else {
            broken(source)
        }
    })?;
    let mut bytes = serde_json::to_vec(request).map_err(|error| malformed(error.to_string()))?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await.map_err(broken)?;
    let mut line = Vec::new();
    let mut limited = BufReader::new(stream.take(CONTROL_REPLY_BYTES_MAX));
    timeout(patience, limited.read_until(b'\n', &mut line))
        .await
        .map_err(|_| ControlError::Silent {
            path: path.to_owned(),
        })?
        .map_err(broken)?;
    if !line.ends_with(b"\n") {
        return Err(malformed("it is cut off".to_owned()));
    }
    match serde_json::from_slice(&line).map_err(|error| malformed(error.to_string()))? {
        Reply::Ok(value) => Ok(value),
        Reply::Error(rejection) => Err(rejection.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    async fn echo(request: Request, caller: Caller) -> Result<Value, Rejection> {
        match request.command.as_str() {
            "whoami" => Ok(json!({ "uid": caller.uid, "pid": caller.pid })),
            "echo" => Ok(Value::Object(request.arguments)),
            _ => Err(Rejection::unknown_command(&request)),
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_and_a_stranger_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let server = ControlServer::bind(&path, 0o600).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let serving = tokio::spawn(server.serve(echo));
        let reply = call(&path, &Request::new("echo").with("name", "a.zz"))
            .await
            .unwrap();
        assert_eq!(reply, json!({"name": "a.zz"}));
        let error = call(&path, &Request::new("dance")).await.unwrap_err();
        assert!(matches!(error, ControlError::Rejected(_)), "{error}");
        assert!(error.to_string().contains("'dance'"));
        serving.abort();
        let _ = serving.await;
        assert!(!path.exists(), "the socket goes with its server");
    }

    #[tokio::test]
    async fn a_connection_may_ask_more_than_once_and_rubbish_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let server = ControlServer::bind(&path, 0o600).await.unwrap();
        let serving = tokio::spawn(server.serve(echo));
        let stream = UnixStream::connect(&path).await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write
            .write_all(b"{\"command\":\"echo\"}\nrubbish\n")
            .await
            .unwrap();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "{\"ok\":{}}");
        let error = lines.next_line().await.unwrap().unwrap();
        assert!(error.contains("not a request"), "{error}");
        write
            .write_all(&vec![b'x'; CONTROL_IMPORT_BYTES_MAX as usize])
            .await
            .unwrap();
        let error = lines.next_line().await.unwrap().unwrap();
        assert!(error.contains("at most"), "{error}");
        assert_eq!(lines.next_line().await.unwrap(), None);
        serving.abort();
    }

    #[tokio::test]
    async fn the_kernel_tells_who_is_calling() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let server = ControlServer::bind(&path, 0o600).await.unwrap();
        let serving = tokio::spawn(server.serve(echo));
        let request = Request::new("whoami").with("uid", 4711);
        let reply = call(&path, &request).await.unwrap();
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(reply, json!({"uid": own, "pid": std::process::id()}));
        serving.abort();
    }

    #[tokio::test]
    async fn a_socket_left_by_a_crash_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let error = call(&path, &Request::new("echo")).await.unwrap_err();
        assert!(matches!(error, ControlError::NotRunning { .. }));
        let _first = ControlServer::bind(&path, 0o600).await.unwrap();
        let second = ControlServer::bind(&path, 0o600).await.unwrap_err();
        assert!(matches!(second, ControlError::InUse { .. }));
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = ControlServer::bind(&path, 0o600).await.unwrap_err();
        assert!(matches!(error, ControlError::Bind { .. }));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
