//! Any stream, cut anywhere: the messages are the same, and nothing is held past one of them.
#![no_main]

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use libfuzzer_sys::fuzz_target;
use zzdot_client::framing::{FrameReader, push_frame};

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let step = usize::from(step).max(1);

    // What the two bytes of length say, read by hand.
    let mut expected = Vec::new();
    let mut rest = stream;
    while let [high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(message) = after.get(..length) else { break };
        expected.push(message.to_vec());
        rest = &after[length..];
    }

    let mut reader = FrameReader::new();
    let mut source = Cut { rest: stream, step };
    let mut found = Vec::new();
    loop {
        match now(reader.next(&mut source)) {
            Ok(Some(message)) => found.push(message),
            Ok(None) => {
                assert!(rest.is_empty(), "the end was between two messages");
                break;
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
                assert!(!rest.is_empty(), "the end was inside of a message");
                break;
            }
        }
    }
    assert_eq!(found, expected);

    let mut written = Vec::new();
    for message in &found {
        assert!(push_frame(&mut written, message));
    }
    assert_eq!(written, stream[..stream.len() - rest.len()]);
});

/// A stream that gives a few bytes at a time and never waits.
struct Cut<'a> {
    rest: &'a [u8],
    step: usize,
}

impl tokio::io::AsyncRead for Cut<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = self.step.min(self.rest.len()).min(into.remaining());
        let (now, later) = self.rest.split_at(count);
        into.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the stream never waits"),
    }
}
