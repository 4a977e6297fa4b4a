//! A web server of one page, for `curl`.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv6Addr, TcpListener},
    thread,
};

use crate::host::Host;

/// Serves `page` on port 80 of a host, IPv4 and IPv6, as long as the process lives.
///
/// # Errors
/// The port is taken.
pub fn serve(host: &Host, page: &'static str) -> io::Result<()> {
    // An IPv6 socket takes IPv4 connections too.
    let listener = host.within(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A visitor that leaves early is no fault of the server.
            let _ = answer(stream, page);
        }
    });
    Ok(())
}

fn answer(mut stream: std::net::TcpStream, page: &str) -> io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    )
}
