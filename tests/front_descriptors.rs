//! The front when the process has no descriptors left. Alone in its process, whose limit it lowers.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "front/support.rs"]
#[allow(dead_code)]
mod support;

use std::{fs::File, os::fd::AsRawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpSocket;
use zzdot::{counters::Event, listen::Limits};

use support::{Client, assert_answers, query, receive, soon, start, udp};

const CLIENTS: usize = 20;

#[tokio::test]
async fn without_descriptors_the_old_are_served_and_with_them_the_new_again() {
    let running = start(Limits::default());
    let one = query(1, "www.example.");
    let mut useful = running.tls().await;
    assert_answers(&one, &useful.ask(&one).await);
    let datagrams = udp(running.dns).await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        silent.push(running.tcp().await);
    }
    running
        .until("every connection", || {
            running.front.status().connections == CLIENTS + 1
        })
        .await;

    // The clients have their descriptors; then nobody has any.
    let sockets: Vec<_> = (0..CLIENTS).map(|_| TcpSocket::new_v4().unwrap()).collect();
    let last = File::open("/dev/null").unwrap().as_raw_fd();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(last).unwrap(), hard).unwrap();
    assert!(
        File::open("/dev/null").is_err(),
        "there is still a descriptor"
    );

    let mut clients = Vec::new();
    for socket in sockets {
        clients.push(Client(soon(socket.connect(running.dns)).await.unwrap()));
    }
    running.counted(Event::AcceptExhausted, 2).await;
    datagrams.send(&one).await.unwrap();
    assert_answers(&one, &receive(&datagrams).await);
    assert_answers(&one, &useful.ask(&one).await);

    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let last = clients.last_mut().unwrap();
    assert_answers(&one, &last.ask(&one).await);
    let mut new = running.tls().await;
    assert_answers(&one, &new.ask(&one).await);
    assert_answers(&one, &useful.ask(&one).await);
}
