#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_page_has_help_type_and_samples_with_their_letters_escaped() {
    let mut page = Exposition::new();
    page.family("zzdot_up", Kind::Gauge, "Whether\nit is \\ up.")
        .value(1);
    page.family("zzdot_asked_total", Kind::Counter, "Questions.")
        .sample(&[("by", "a\"b\\c\nd"), ("over", "tls")], 7)
        .sample(&[("by", ""), ("over", "udp")], u64::MAX);
    assert_eq!(
        page.into_text(),
        "# HELP zzdot_up Whether\\nit is \\\\ up.\n\
         # TYPE zzdot_up gauge\n\
         zzdot_up 1\n\
         # HELP zzdot_asked_total Questions.\n\
         # TYPE zzdot_asked_total counter\n\
         zzdot_asked_total{by=\"a\\\"b\\\\c\\nd\",over=\"tls\"} 7\n\
         zzdot_asked_total{by=\"\",over=\"udp\"} 18446744073709551615\n"
    );
}

#[test]
fn requests_are_judged_when_they_are_whole() {
    let judged = |request: &str| judge(request.as_bytes());
    assert_eq!(judged("GET /metrics HTT"), None);
    assert_eq!(judged("GET /metrics HTTP/1.1\r\nHost: x\r\n"), None);
    let page = Some(Asked::Page { head: false });
    assert_eq!(judged("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), page);
    assert_eq!(judged("GET /metrics?x=y HTTP/1.0\r\n\r\n"), page);
    let head = Some(Asked::Page { head: true });
    assert_eq!(judged("HEAD /metrics HTTP/1.1\r\n\r\n"), head);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("\u{16}\u{3}\u{1}", "400 Bad Request"),
    ] {
        assert_eq!(judged(request), Some(Asked::Refused(status)), "{request:?}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(REQUEST_BYTES));
    let status = "431 Request Header Fields Too Large";
    assert_eq!(judged(&long), Some(Asked::Refused(status)));
}

async fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn visitors_get_the_page_one_beside_the_other() {
    let listener = MetricsListener::bind("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address = listener.address().unwrap();
    let serving = tokio::spawn(listener.serve(|| async {
        let mut page = Exposition::new();
        page.family("zzdot_up", Kind::Gauge, "Up.").value(1);
        page
    }));
    // One who says nothing holds nobody up.
    let _silent = TcpStream::connect(address).await.unwrap();
    let answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"));
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert_eq!(
        body,
        "# HELP zzdot_up Up.\n# TYPE zzdot_up gauge\nzzdot_up 1\n"
    );
    let head = ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
    assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: "));
    let lost = ask(address, b"GET /favicon.ico HTTP/1.1\r\n\r\n").await;
    assert!(lost.starts_with("HTTP/1.1 404 "), "{lost}");
    serving.abort();
}
