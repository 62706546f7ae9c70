//! The yardstick: a loop that writes a ready frame to one socket after another, or several such loops on threads of
//! their own, each with its share of the sockets. No queue, no lock, no readiness, no accounting; nothing must be added.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

/// Takes sockets until one asks for `/trigger`, which then sends frames (length in four bytes, big endian, before each)
/// to be written to all others by `threads` threads. Ends with the trigger. The first line printed is the address.
pub fn serve(threads: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut sockets = Vec::new();
    loop {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let request = handshake(&mut socket)?;
        if request.starts_with(b"GET /trigger") {
            return write_frames(socket, &sockets, threads);
        }
        sockets.push(socket);
    }
}

fn handshake(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut request, mut part) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&part[..count]),
        }
    }
    socket.write_all(ACCEPTED.as_bytes())?;
    Ok(request)
}

fn write_frames(mut trigger: TcpStream, sockets: &[TcpStream], threads: usize) -> io::Result<()> {
    let mut shares = sockets.chunks(sockets.len().div_ceil(threads).max(1));
    let own = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others = shares.map(|share| {
            let (sender, frames) = mpsc::channel::<Arc<Vec<u8>>>();
            scope.spawn(move || frames.iter().try_for_each(|frame| write_all(share, &frame)));
            sender
        });
        let others: Vec<_> = others.collect();
        let mut length = [0; 4];
        while trigger.read_exact(&mut length).is_ok() {
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            trigger.read_exact(&mut frame)?;
            let frame = Arc::new(frame);
            for other in &others {
                other.send(frame.clone()).map_err(io::Error::other)?;
            }
            write_all(own, &frame)?;
        }
        Ok(())
    })
}

fn write_all(sockets: &[TcpStream], frame: &[u8]) -> io::Result<()> {
    for mut socket in sockets {
        socket.write_all(frame)?;
    }
    Ok(())
}
