//! OpenSSL's command as the other end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};

use super::ends::{Configs, configs};
use crate::tls::session::{ClientSession, ServerSession};

const QUESTION: &[u8] = b"question\n";
const PATIENCE: Duration = Duration::from_secs(20);

struct Openssl(Child);

impl Openssl {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is missing: apt-get install openssl");
        Self(child)
    }

    fn say(&mut self, bytes: &[u8]) {
        self.0.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads until a whole question has been said; sends what TLS has to say.
macro_rules! hear_line {
    ($session:expr, $stream:expr) => {{
        let (mut kept, mut plain, mut outgoing) = (Vec::new(), Vec::new(), Vec::new());
        let mut buffer = [0; 4096];
        loop {
            let progress = $session
                .advance(&mut kept, &mut plain, &mut outgoing)
                .unwrap();
            kept.drain(..progress.taken);
            $stream.write_all(&outgoing).unwrap();
            outgoing.clear();
            if plain.ends_with(b"\n") {
                break plain;
            }
            let got = $stream.read(&mut buffer).unwrap();
            assert!(got > 0, "openssl hung up");
            kept.extend_from_slice(&buffer[..got]);
        }
    }};
}

#[test]
fn openssl_asks_our_server() {
    for (version, flag) in [(&TLS13, "-tls1_3"), (&TLS12, "-tls1_2")] {
        let configs = configs(version);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut openssl = Openssl::start(&[
            "s_client", "-connect", &address, flag, "-quiet", "-alpn", "dot",
        ]);
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        openssl.say(QUESTION);
        let mut session = ServerSession::new(Arc::new(configs.server)).unwrap();
        assert_eq!(hear_line!(session, stream), QUESTION);
        assert_eq!(session.alpn(), Some(&b"dot"[..]));

        let mut outgoing = Vec::new();
        session.seal(b"answer\n", &mut outgoing).unwrap();
        session.close(&mut outgoing);
        stream.write_all(&outgoing).unwrap();
        let mut answer = Vec::new();
        openssl
            .0
            .stdout
            .as_mut()
            .unwrap()
            .read_to_end(&mut answer)
            .unwrap();
        assert_eq!(answer, b"answer\n");
    }
}

#[test]
fn our_client_asks_openssl() {
    for (version, flag) in [(&TLS13, "-tls1_3"), (&TLS12, "-tls1_2")] {
        let configs = configs(version);
        let folder = tempfile::tempdir().unwrap();
        let PrivateKeyDer::Pkcs8(key) = &configs.key else {
            panic!("rcgen writes PKCS #8");
        };
        let (certificate, key_file) = (folder.path().join("cert"), folder.path().join("key"));
        std::fs::write(&certificate, pem("CERTIFICATE", &configs.certificate)).unwrap();
        std::fs::write(&key_file, pem("PRIVATE KEY", key.secret_pkcs8_der())).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string();
        // -rev answers each line with its letters turned round.
        let _openssl = Openssl::start(&[
            "s_server",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
            certificate.to_str().unwrap(),
            "-key",
            key_file.to_str().unwrap(),
            flag,
            "-rev",
            "-quiet",
        ]);
        let mut stream = connect(&format!("127.0.0.1:{port}"));
        let mut session = ClientSession::new(Arc::new(configs.client), Configs::name()).unwrap();
        let (mut kept, mut outgoing) = (Vec::new(), Vec::new());
        while session.is_handshaking() {
            let progress = session
                .advance(&mut kept, &mut Vec::new(), &mut outgoing)
                .unwrap();
            kept.drain(..progress.taken);
            stream.write_all(&outgoing).unwrap();
            outgoing.clear();
            if session.is_handshaking() {
                let mut buffer = [0; 4096];
                let got = stream.read(&mut buffer).unwrap();
                kept.extend_from_slice(&buffer[..got]);
            }
        }
        session.seal(QUESTION, &mut outgoing).unwrap();
        stream.write_all(&outgoing).unwrap();
        assert!(kept.is_empty());
        assert_eq!(hear_line!(session, stream), b"noitseuq\n");
    }
}

/// openssl does not say when it listens.
fn connect(address: &str) -> TcpStream {
    let started = std::time::Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) if started.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
