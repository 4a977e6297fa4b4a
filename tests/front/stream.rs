//! Conversations over TCP and TLS (RFC 7766).

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use zzdot::{counters::Event, listen::Limits};

use crate::support::{Client, assert_answers, framed, label, query, rcode, start};

async fn answers_come_as_they_are_ready<S>(mut client: Client<S>, release: impl FnOnce())
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client.send(&query(1, "slow1.example.")).await;
    client.send(&query(2, "slow2.example.")).await;
    for id in 3..100 {
        client.send(&query(id, "fast.example.")).await;
    }
    let mut early: Vec<_> = Vec::new();
    for _ in 3..100 {
        let reply = client.receive().await;
        assert_eq!(label(&reply), "fast");
        early.push(u16::from_be_bytes([reply[0], reply[1]]));
    }
    early.sort_unstable();
    assert_eq!(early, (3..100).collect::<Vec<_>>());
    release();
    let late = [client.receive().await, client.receive().await];
    let mut late = late.map(|reply| (label(&reply), reply[1]));
    late.sort();
    assert_eq!(late, [("slow1".into(), 1), ("slow2".into(), 2)]);
}

#[tokio::test]
async fn answers_leave_tcp_in_the_order_in_which_they_are_ready() {
    let running = start(Limits::default());
    let client = running.tcp().await;
    answers_come_as_they_are_ready(client, || running.release(2)).await;
}

#[tokio::test]
async fn answers_leave_tls_in_the_order_in_which_they_are_ready() {
    let running = start(Limits::default());
    let client = running.tls().await;
    answers_come_as_they_are_ready(client, || running.release(2)).await;
}

#[tokio::test]
async fn a_query_may_arrive_octet_by_octet_and_many_in_one_piece() {
    let running = start(Limits::default());
    let mut client = running.tcp().await;
    let one = query(1, "www.example.");
    let octets = framed(&one);
    for octet in &octets {
        client.0.write_all(&[*octet]).await.unwrap();
    }
    assert_answers(&one, &client.receive().await);
    client.0.write_all(&octets.repeat(50)).await.unwrap();
    for _ in 0..50 {
        assert_answers(&one, &client.receive().await);
    }
}

#[tokio::test]
async fn who_has_said_all_still_gets_the_answers() {
    let running = start(Limits::default());
    let mut client = running.tcp().await;
    client.send(&query(1, "slow.example.")).await;
    client.0.shutdown().await.unwrap();
    running
        .until("the query in flight", || {
            running.front.status().stream_queries == 1
        })
        .await;
    running.release(1);
    assert_answers(&query(1, "slow.example."), &client.receive().await);
    client.end().await.unwrap();
    assert_eq!(running.counters.value(Event::StreamBroken), 0);
}

#[tokio::test]
async fn an_overlong_query_is_told_so_and_the_next_is_answered() {
    let running = start(Limits::default());
    let mut client = running.tls().await;
    let mut overlong = query(1, "www.example.");
    overlong.resize(60_000, 0);
    assert_eq!(rcode(&client.ask(&overlong).await), 1);
    assert_eq!(running.counters.value(Event::QueryBytes), 1);
    let next = query(2, "www.example.");
    assert_answers(&next, &client.ask(&next).await);
}

#[tokio::test]
async fn a_response_from_a_client_ends_the_connection() {
    let running = start(Limits::default());
    let mut client = running.tcp().await;
    let mut response = query(1, "www.example.");
    response[2] |= 0x80;
    client.send(&response).await;
    client.end().await.unwrap();
    assert_eq!(running.counters.value(Event::NotAQuery), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_gives_its_queries_up() {
    let running = start(Limits::default());
    let mut client = running.tcp().await;
    client.send(&query(1, "slow.example.")).await;
    running
        .until("the query in flight", || {
            running.front.status().stream_queries == 1
        })
        .await;
    // Reset, not closed: nobody is there to be answered.
    client.0.set_zero_linger().unwrap();
    drop(client);
    running
        .until("nothing in flight", || {
            running.front.status().stream_queries == 0
        })
        .await;
    running
        .until("no connection", || running.front.status().connections == 0)
        .await;
}
