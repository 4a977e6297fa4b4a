//! Questions on connections (RFC 7766): many at once, answered as the answers come.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::Shared;
use super::limits::count;
use super::screen::{Screened, screen};
use crate::framing::{FrameReader, push_frame};

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopping = shared.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: asking again at once would spin.
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let local = stream
            .local_addr()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
        if !shared.admits(peer.ip(), local) {
            count(&shared.counters.strangers);
            continue;
        }
        let Ok(turn) = Arc::clone(&shared.tcp_turns).try_acquire_owned() else {
            count(&shared.counters.tcp_overflows);
            continue;
        };
        count(&shared.counters.tcp_accepted);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _turn = turn;
            if let Err(error) = converse(stream, &shared).await {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        });
    }
}

async fn converse(stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = tokio::io::split(stream);
    let in_flight = shared.limits.tcp_in_flight.max(1);
    let turns = Arc::new(Semaphore::new(in_flight as usize));
    let (answers, queue) = mpsc::channel(in_flight as usize);
    let mut writing = tokio::spawn(write(writer, queue, shared.limits.tcp_slow()));
    let outcome = tokio::select! {
        outcome = read(reader, shared, &turns, answers) => outcome,
        // The asker does not read: nothing more is asked for it.
        written = &mut writing => return written.unwrap_or(Ok(())),
    };
    // The answers under way still go out, each within its own budget.
    let _ = writing.await;
    outcome
}

async fn read(
    mut reader: ReadHalf<TcpStream>,
    shared: &Arc<Shared>,
    turns: &Arc<Semaphore>,
    answers: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut stopping = shared.stopping.clone();
    let mut frames = FrameReader::new();
    loop {
        // Not reading is what holds back an asker with too many questions.
        let Ok(turn) = Arc::clone(turns).acquire_owned().await else {
            return Ok(());
        };
        let next = next(&mut frames, &mut reader, shared, turns);
        let message = tokio::select! {
            message = next => match message? {
                Some(message) => message,
                None => return Ok(()),
            },
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        match screen(&message) {
            Screened::Drop => {
                // Nobody who means well sends this over a connection.
                count(&shared.counters.no_queries);
                return Ok(());
            }
            Screened::Reply(reply) => {
                count(&shared.counters.bad_queries);
                if answers.send(reply).await.is_err() {
                    return Ok(());
                }
            }
            Screened::Pass { .. } => {
                count(&shared.counters.tcp_queries);
                let (source, answers) = (Arc::clone(&shared.source), answers.clone());
                tokio::spawn(async move {
                    let _turn = turn;
                    let _ = answers.send(source.answer(message).await).await;
                });
            }
        }
    }
}

/// The next message; none when the connection ended or was idle for too long. A connection with
/// answers under way is not idle.
async fn next(
    frames: &mut FrameReader,
    reader: &mut ReadHalf<TcpStream>,
    shared: &Shared,
    turns: &Semaphore,
) -> io::Result<Option<Vec<u8>>> {
    let limits = &shared.limits;
    loop {
        let patience = if frames.is_mid_message() {
            limits.tcp_slow()
        } else {
            limits.tcp_idle()
        };
        let begun = frames.is_mid_message();
        let waited = timeout(patience, frames.next(reader)).await;
        match waited {
            Ok(message) => return message,
            Err(_) if begun => {
                count(&shared.counters.tcp_slow);
                return Ok(None);
            }
            // Its first bytes came meanwhile: the shorter patience begins.
            Err(_) if frames.is_mid_message() => {}
            Err(_) if turns.available_permits() + 1 < limits.tcp_in_flight.max(1) as usize => {}
            Err(_) => {
                count(&shared.counters.tcp_idle);
                return Ok(None);
            }
        }
    }
}

async fn write(
    mut writer: WriteHalf<TcpStream>,
    mut queue: mpsc::Receiver<Vec<u8>>,
    patience: Duration,
) -> io::Result<()> {
    const BATCH: usize = 32;
    let mut answers = Vec::with_capacity(BATCH);
    loop {
        answers.clear();
        if queue.recv_many(&mut answers, BATCH).await == 0 {
            return writer.shutdown().await;
        }
        let mut bytes = Vec::new();
        for answer in &answers {
            // No answer is longer than a message can be: it came as one.
            let _ = push_frame(&mut bytes, answer);
        }
        timeout(patience, writer.write_all(&bytes))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
}
