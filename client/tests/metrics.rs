//! The numbers that `zzdot-client` tells, judged by a reader that is not ours.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../tests/support/exposition.rs"]
#[allow(dead_code, unreachable_pub)]
mod exposition;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use common::{Daemon, Manner, Resolver};
use exposition::Page;

fn fetch(address: &str) -> Page {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Page::read(page).unwrap()
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

#[test]
fn questions_are_counted_by_rung_and_failures_by_reason() {
    let resolver = Resolver::start(Manner::Legacy);
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let server = format!("server = \"{}\"\nmetrics = \"{address}\"", resolver.address);
    let daemon = Daemon::start(folder.path(), &server);
    let asked = |daemon: &Daemon| daemon.tool(&["query", "www.example", "A", "--json"]);
    asked(&daemon);
    let page = fetch(&address);
    let on =
        |page: &Page, rung: &str| page.value("zzdot_client_questions_total", &[("rung", rung)]);
    assert_eq!(on(&page, "cleartext"), Some(1.0));
    assert_eq!(on(&page, "identity"), Some(0.0));
    assert_eq!(
        page.value("zzdot_client_rung", &[("rung", "cleartext")]),
        Some(1.0)
    );
    assert_eq!(
        page.value("zzdot_client_cleartext_since_boot", &[]),
        Some(1.0)
    );
    assert_eq!(daemon.stop(), Some(0));

    let daemon = Daemon::start(folder.path(), &format!("{server}\nlegacy = \"refuse\""));
    asked(&daemon);
    let page = fetch(&address);
    let failed = |reason| page.value("zzdot_client_failures_total", &[("reason", reason)]);
    assert_eq!(failed("legacy"), Some(1.0));
    assert_eq!(
        failed("certificate-mismatch"),
        Some(0.0),
        "told from the start"
    );
    assert_eq!(on(&page, "cleartext"), Some(0.0));
    assert_eq!(
        page.value("zzdot_client_cleartext_since_boot", &[]),
        Some(1.0),
        "a restart is no boot"
    );
    assert_eq!(page.value("zzdot_client_down", &[]), Some(1.0));
}

#[test]
fn an_upgraded_resolver_is_counted_as_one() {
    let resolver = Resolver::start(Manner::Upgraded);
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let settings = format!("server = \"{}\"\nmetrics = \"{address}\"", resolver.address);
    let daemon = Daemon::start(folder.path(), &settings);
    daemon.tool(&["query", "www.example", "A", "--json"]);
    let page = fetch(&address);
    let on = |rung| page.value("zzdot_client_questions_total", &[("rung", rung)]);
    assert_eq!((on("identity"), on("cleartext")), (Some(1.0), Some(0.0)));
    assert_eq!(
        page.value("zzdot_client_rung", &[("rung", "known")]),
        Some(1.0)
    );
    assert_eq!(page.value("zzdot_client_tls_connected", &[]), Some(1.0));
    assert_eq!(page.value("zzdot_client_down", &[]), Some(0.0));
}
