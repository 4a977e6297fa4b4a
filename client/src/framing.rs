//! DNS over a stream: messages behind two bytes of length (RFC 1035 §4.2.2, RFC 7766 §8).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes asked of the stream at a time: a few answers, or one TLS record.
const READ_BYTES: usize = 16 * 1024;
const LENGTH_BYTES: usize = 2;

/// Appends `message` with its length before it. Nothing happens to one that is too long for two
/// bytes of length: false.
#[must_use]
pub fn push_frame(into: &mut Vec<u8>, message: &[u8]) -> bool {
    let Ok(length) = u16::try_from(message.len()) else {
        return false;
    };
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(message);
    true
}

/// Takes messages out of a stream, however it is cut into segments.
///
/// Holds at most one message and one read beyond it. [`FrameReader::next`] may be dropped at any
/// await and called again: nothing is lost.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    taken: usize,
}

impl FrameReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next message; none when the stream ended between two.
    ///
    /// # Errors
    /// What the stream says; `UnexpectedEof` when it ends inside of a message.
    pub async fn next<R: AsyncRead + Unpin>(
        &mut self,
        stream: &mut R,
    ) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.buffer.reserve(READ_BYTES);
            if (&mut *stream)
                .take(READ_BYTES as u64)
                .read_buf(&mut self.buffer)
                .await?
                == 0
            {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// A message that is already here.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let rest = self.buffer.get(self.taken..)?;
        let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        let message = rest.get(LENGTH_BYTES..LENGTH_BYTES + length)?.to_vec();
        self.taken += LENGTH_BYTES + length;
        Some(message)
    }

    /// Whether part of a message has arrived.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.buffer.len() > self.taken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn messages_survive_any_cut_of_the_stream() {
        let messages: Vec<Vec<u8>> = vec![vec![], vec![7; 1], vec![8; 300], vec![9; 65_535]];
        let mut stream = Vec::new();
        for message in &messages {
            assert!(push_frame(&mut stream, message));
        }
        for step in [1, 2, 3, 1000, 70_000] {
            let chunks: Vec<&[u8]> = stream.chunks(step).collect();
            let mut mock = tokio_test_reader(&chunks);
            let mut reader = FrameReader::new();
            for message in &messages {
                assert_eq!(
                    reader.next(&mut mock).await.unwrap().as_ref(),
                    Some(message)
                );
            }
            assert_eq!(reader.next(&mut mock).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn an_end_inside_of_a_message_is_an_error() {
        let mut reader = FrameReader::new();
        let error = reader.next(&mut &[0u8, 9, 1][..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(reader.is_mid_message());
    }

    #[test]
    fn a_message_that_is_too_long_is_not_framed() {
        let mut stream = Vec::new();
        assert!(!push_frame(&mut stream, &vec![0; 65_536]));
        assert!(stream.is_empty());
    }

    /// A reader that gives one chunk a read.
    fn tokio_test_reader(chunks: &[&[u8]]) -> impl AsyncRead + Unpin {
        struct Chunks(std::collections::VecDeque<Vec<u8>>);
        impl AsyncRead for Chunks {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                into: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                if let Some(mut chunk) = self.0.pop_front() {
                    let now = chunk.len().min(into.remaining());
                    into.put_slice(&chunk[..now]);
                    let rest = chunk.split_off(now);
                    if !rest.is_empty() {
                        self.0.push_front(rest);
                    }
                }
                std::task::Poll::Ready(Ok(()))
            }
        }
        Chunks(chunks.iter().map(|chunk| chunk.to_vec()).collect())
    }
}
