#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;

const LONGEST: usize = 64;

struct Lab {
    listener: Arc<Listener>,
    cut: Arc<AtomicU64>,
    inbox: Inbox,
    turns: Arc<Semaphore>,
}

impl Lab {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let inbox = Inbox::new(socket.local_addr().unwrap(), LONGEST);
        let cut = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&cut) as Arc<dyn Counter>;
        Self {
            listener: Arc::new(Listener::new(socket, counter).unwrap()),
            cut,
            inbox,
            turns: Arc::new(Semaphore::new(1000)),
        }
    }

    /// A program that asks there.
    fn program(&self) -> UdpSocket {
        let to = self.listener.local_addr().unwrap();
        let socket = UdpSocket::bind((to.ip(), 0)).unwrap();
        socket.connect(to).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        socket
    }

    fn asker(&self, peer: SocketAddr, longest: usize) -> Asker {
        Asker {
            listener: Arc::clone(&self.listener),
            peer,
            longest,
            turn: Arc::clone(&self.turns).try_acquire_owned().unwrap(),
        }
    }
}

fn heard(program: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 512];
    let length = program.recv(&mut bytes).unwrap();
    bytes[..length].to_vec()
}

#[tokio::test]
async fn each_gets_back_what_he_sent_however_many_there_are_and_in_both_families() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut lab = Lab::new(address);
        let (one, two) = (lab.program(), lab.program());
        for number in 0..50_u8 {
            one.send(&[1, number]).unwrap();
            two.send(&[2, number]).unwrap();
        }
        let mut came = 0;
        while came < 100 {
            lab.inbox.fill(&lab.listener).await.unwrap();
            let (mut bytes, mut outbox) = (Vec::new(), Outbox::default());
            for (datagram, peer) in lab.inbox.datagrams() {
                let start = bytes.len();
                bytes.extend_from_slice(datagram);
                outbox.put(start..bytes.len(), lab.asker(peer, LONGEST));
                came += 1;
            }
            outbox.send(&bytes);
            assert!(outbox.is_empty());
        }
        for number in 0..50 {
            assert_eq!(
                (heard(&one), heard(&two)),
                (vec![1, number], vec![2, number])
            );
        }
        assert_eq!(lab.turns.available_permits(), 1000, "nobody waits any more");
    }
}

#[tokio::test]
async fn what_is_too_long_is_cut_on_its_way_in_and_out() {
    let mut lab = Lab::new("127.0.0.1:0");
    let program = lab.program();
    program.send(&[7; LONGEST + 1]).unwrap();
    lab.inbox.fill(&lab.listener).await.unwrap();
    let (datagram, peer) = lab.inbox.datagrams().next().unwrap();
    assert_eq!(datagram, [7; LONGEST]);
    // An answer without records that says that it has none.
    let answer = [&[0, 9, 0x81, 0x80][..], &[0; 8 + 600]].concat();
    let mut outbox = Outbox::default();
    outbox.put(0..answer.len(), lab.asker(peer, 512));
    outbox.put(0..12, lab.asker(peer, 512));
    outbox.send(&answer);
    assert_eq!(heard(&program), answer[..12], "who is cut waits for nobody");
    tokio::task::yield_now().await;
    let cut = heard(&program);
    assert!(cut.len() <= 512 && cut[2] & 2 != 0);
    assert_eq!(lab.cut.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_asker_who_cannot_be_reached_keeps_nobody_waiting() {
    let lab = Lab::new("127.0.0.1:0");
    let program = lab.program();
    let mut outbox = Outbox::default();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    outbox.put(0..1, lab.asker(nowhere, LONGEST));
    outbox.put(1..2, lab.asker(program.local_addr().unwrap(), LONGEST));
    outbox.put(0..1, lab.asker(nowhere, LONGEST));
    outbox.send(&[1, 2]);
    assert_eq!(heard(&program), [2]);
    assert!(outbox.is_empty());
}

#[tokio::test]
async fn answers_go_out_by_the_socket_that_was_asked() {
    let (one, two) = (Lab::new("127.0.0.1:0"), Lab::new("127.0.0.1:0"));
    let programs = [one.program(), two.program()];
    let mut outbox = Outbox::default();
    for at in 0..10 {
        let (lab, program) = [(&one, &programs[0]), (&two, &programs[1])][at % 2];
        outbox.put(
            at..at + 1,
            lab.asker(program.local_addr().unwrap(), LONGEST),
        );
    }
    outbox.send(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // Each hears only whom it asked.
    for at in (0..10).step_by(2) {
        assert_eq!(
            (heard(&programs[0]), heard(&programs[1])),
            (vec![at], vec![at + 1])
        );
    }
}
