//! A client's socket over TLS: what arrives is decrypted, what is written encrypted. It keeps bytes only while a record is
//! incomplete or the socket does not take one, hence rustls' interface without buffers (its own would stay for good, 4 KB
//! a connection). It must not know certificates, HTTP or frames.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_rt::net::TcpStream;
use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::{READ, SCRATCH, Socket};

/// Plaintext of a record. No further one is begun while ciphertext waits, so this also bounds what waits.
const RECORD: usize = 16 * 1024;
/// What encryption adds at most: 29 bytes, and perhaps a message about new keys.
const OVERHEAD: usize = 1024;
/// Bytes read at once from a client who is not let in yet.
const FIRST: usize = 4 * 1024;

thread_local! {
    /// A record before and after.
    static CIPHER: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((Vec::new(), vec![0; RECORD + OVERHEAD]));
}

/// A connection whose TLS handshake is done.
pub struct TlsStream {
    stream: TcpStream,
    tls: RefCell<Tls>,
    /// Decrypted, and not read yet.
    plain: BytesMut,
}

struct Tls {
    connection: UnbufferedServerConnection,
    /// The beginning of a record.
    received: Vec<u8>,
    /// Ciphertext that the socket has not taken.
    unsent: BytesMut,
    /// How many bytes of a session's frames are in there.
    committed: usize,
    /// The peer says nothing any more.
    ended: bool,
    /// It broke the protocol: nothing may be asked of `connection` any more.
    failed: bool,
}

impl TlsStream {
    /// Does the handshake. The caller bounds the time.
    pub async fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let (received, unsent, mut plain) = Default::default();
        let mut tls = Tls { connection, received, unsent, committed: 0, ended: false, failed: false };
        while tls.connection.is_handshaking() {
            stream.readable().await?;
            match tls.read(&stream, &mut plain, READ) {
                Ok(true) => {}
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            while let Err(error) = tls.flush(&stream) {
                match error.kind() {
                    io::ErrorKind::WouldBlock => stream.writable().await?,
                    _ => return Err(error),
                }
            }
        }
        Ok(TlsStream { stream, tls: RefCell::new(tls), plain })
    }

    /// Waits for the first bytes within the encryption, and shows them; empty when the peer leaves.
    pub async fn peek(&mut self) -> io::Result<&[u8]> {
        while self.plain.is_empty() && !self.tls.get_mut().ended {
            self.stream.readable().await?;
            match self.tls.get_mut().read(&self.stream, &mut self.plain, READ) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(&self.plain)
    }
}

impl Tls {
    /// Reads what is there, `limit` bytes at most, and appends what it says to `plain`; false once nothing more comes.
    fn read(&mut self, stream: &TcpStream, plain: &mut BytesMut, limit: usize) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let kept = self.received.len();
            let end = READ.min(kept + limit);
            scratch[..kept].copy_from_slice(&self.received);
            // A record never fills the buffer; whoever sends such a thing is not waited for.
            let count = stream.try_read(&mut scratch[kept..end])?;
            self.ended = count == 0;
            let arrived = &mut scratch[..kept + count];
            let processed = self.process(arrived, plain);
            let used = *processed.as_ref().unwrap_or(&arrived.len());
            self.received = arrived[used..].to_vec();
            // Whatever TLS itself has to say goes now if it can, else before the next bytes. After a mistake it's an alert.
            let _ = self.flush(stream);
            processed.map(|_| !self.ended)
        })
    }

    /// Takes whole records off the front; answers how many bytes those were.
    fn process(&mut self, arrived: &mut [u8], plain: &mut BytesMut) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut arrived[used..]);
            used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(broken)?;
                        plain.extend_from_slice(record.payload);
                        used += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut self.unsent, |room| data.encode(room))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.ended = true;
                    return Ok(used);
                }
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => return Ok(used),
                // Early data is not offered.
                Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
                Err(error) => {
                    (self.ended, self.failed) = (true, true);
                    self.queue_alert(&mut arrived[used..]);
                    return Err(broken(error));
                }
            }
        }
    }

    /// After a mistake of the peer's there is an alert to send. Asked twice, the library would find the mistake again.
    fn queue_alert(&mut self, arrived: &mut [u8]) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(arrived).state {
            let _ = encode(&mut self.unsent, |room| data.encode(room));
        }
    }

    /// Has `with` write, which it may once everything that arrived was processed.
    fn traffic<T>(
        &mut self,
        with: impl FnOnce(WriteTraffic<'_, ServerConnectionData>) -> Result<T, EncryptError>,
    ) -> io::Result<T> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match self.connection.process_tls_records(&mut self.received).state {
            Ok(ConnectionState::WriteTraffic(traffic)) => with(traffic).map_err(broken),
            Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(broken(error)),
        }
    }

    /// Answers how many bytes of the frames the socket took whole records of; `WouldBlock` if none.
    fn write(&mut self, stream: &TcpStream, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            if let Err(error) = self.flush(stream) {
                return if written > 0 { Ok(written) } else { Err(error) };
            }
            written += std::mem::take(&mut self.committed);
            match self.send_record(stream, frames, written)? {
                0 => return Ok(written),
                length => self.committed = length,
            }
        }
    }

    /// Encrypts the next bytes behind `skip` of them, as much as a record holds, and sends what the socket takes of it; the
    /// rest is `unsent`, where nothing may be before. Answers how many bytes those were.
    fn send_record(&mut self, stream: &TcpStream, frames: &[IoSlice<'_>], skip: usize) -> io::Result<usize> {
        CIPHER.with_borrow_mut(|(plain, cipher)| {
            gather(frames, skip, plain);
            let length = self.traffic(|mut traffic| traffic.encrypt(plain, cipher))?;
            let sent = match length {
                0 => 0,
                _ => stream
                    .try_write(&cipher[..length])
                    .or_else(|error| if is_wait(&error) { Ok(0) } else { Err(error) })?,
            };
            self.unsent.extend_from_slice(&cipher[sent..length]);
            Ok(plain.len())
        })
    }

    /// `WouldBlock` while ciphertext is left.
    fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let written = stream.try_write(&self.unsent)?;
            self.unsent.advance(written);
            if self.unsent.is_empty() {
                self.unsent = BytesMut::new();
            }
        }
        Ok(())
    }

    fn say_goodbye(&mut self, stream: &TcpStream) -> io::Result<()> {
        let mut alert = [0; 256];
        let length = self.traffic(|mut traffic| traffic.queue_close_notify(&mut alert))?;
        self.unsent.extend_from_slice(&alert[..length]);
        self.flush(stream)
    }
}

/// The bytes behind the first `skip`, as many as a record holds.
fn gather(frames: &[IoSlice<'_>], mut skip: usize, record: &mut Vec<u8>) {
    record.clear();
    for frame in frames {
        let rest = &frame[skip.min(frame.len())..];
        skip -= frame.len() - rest.len();
        record.extend_from_slice(&rest[..rest.len().min(RECORD - record.len())]);
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Appends what `encode` writes; it says how much room it needs.
fn encode(to: &mut BytesMut, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) -> io::Result<()> {
    let start = to.len();
    let room = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Ok(_) => 0,
        Err(error) => return Err(broken(error)),
    };
    to.resize(start + room, 0);
    if room > 0 {
        encode(&mut to[start..]).map_err(broken)?;
    }
    Ok(())
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// For a session.
impl Socket for TlsStream {
    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn take_read(&mut self) -> BytesMut {
        std::mem::take(&mut self.plain)
    }

    fn try_read(&self, into: &mut BytesMut) -> io::Result<bool> {
        let before = into.len();
        let read = self.tls.borrow_mut().read(&self.stream, into, READ);
        // What came before the end is still a message, however the end came.
        if into.len() > before { Ok(true) } else { read }
    }

    fn poll_first(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Option<u8>> {
        while buffer.is_empty() {
            if ready!(self.stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
            match self.tls.borrow_mut().read(&self.stream, buffer, FIRST) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(false) | Err(_) => break,
            }
        }
        Poll::Ready(buffer.first().copied())
    }

    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tls.borrow_mut().write(&self.stream, frames)
    }

    fn committed(&self) -> usize {
        self.tls.borrow().committed
    }

    fn say_goodbye(&self) {
        // Fails when the peer is gone, or does not read: then it learns from the end of the connection.
        let _ = self.tls.borrow_mut().say_goodbye(&self.stream);
    }
}

/// For the HTTP server, until a session takes over.
impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, tls, plain } = self.get_mut();
        while plain.is_empty() && !tls.get_mut().ended {
            ready!(stream.poll_read_ready(cx))?;
            match tls.get_mut().read(stream, plain, READ) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                _ => {}
            }
        }
        let count = plain.len().min(buffer.remaining());
        buffer.put_slice(&plain.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, tls, .. } = self.get_mut();
        when_writable(stream, cx, || {
            let tls = tls.get_mut();
            tls.flush(stream).and_then(|()| tls.send_record(stream, &[IoSlice::new(bytes)], 0))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, tls, .. } = self.get_mut();
        when_writable(stream, cx, || tls.get_mut().flush(stream))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, tls, .. } = self.get_mut();
        ready!(when_writable(stream, cx, || tls.get_mut().say_goodbye(stream)))?;
        Pin::new(stream).poll_shutdown(cx)
    }
}

fn when_writable<T>(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    mut write: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(cx))?,
            done => return Poll::Ready(done),
        }
    }
}
