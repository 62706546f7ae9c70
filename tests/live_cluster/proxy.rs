//! A TCP proxy that can be cut: in front of a node it makes a partition, before several it is a load balancer. Must not
//! look into what it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    Open,
    /// What is connected is cut, what comes is cut at once.
    Refuse,
    /// Nothing is answered and nothing is cut; what was sent arrives when the link opens again.
    BlackHole,
}

#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    link: Arc<watch::Sender<Link>>,
}

impl Proxy {
    /// Connections go to the targets in turn; one that does not listen is passed over.
    pub async fn start(port: u16, targets: Vec<SocketAddr>) -> Proxy {
        let listener = TcpListener::bind(super::processes::local(port)).await.expect("a port");
        let (link, state) = watch::channel(Link::Open);
        let next = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() != Link::Refuse {
                    tokio::spawn(carry(near, targets.clone(), next.clone(), state.clone()));
                }
            }
        });
        Proxy { port, link: Arc::new(link) }
    }

    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

async fn carry(near: TcpStream, targets: Vec<SocketAddr>, next: Arc<AtomicUsize>, mut state: watch::Receiver<Link>) {
    if state.wait_for(|link| *link != Link::BlackHole).await.is_err() {
        return;
    }
    for _ in 0..targets.len() {
        let target = targets[next.fetch_add(1, Ordering::Relaxed) % targets.len()];
        let Ok(far) = TcpStream::connect(target).await else { continue };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        // When one direction ends, the other is of no use to a gateway.
        tokio::select! {
            () = pump(near_read, far_write, state.clone()) => {}
            () = pump(far_read, near_write, state) => {}
        }
        return;
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Link>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let link = *state.borrow_and_update();
        match link {
            Link::Refuse => return,
            Link::BlackHole if state.changed().await.is_err() => return,
            Link::BlackHole => continue,
            Link::Open => {}
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) if *state.borrow() == Link::Open => {
                    if to.write_all(&buffer[..count]).await.is_err() { return }
                }
                Ok(count) => {
                    if state.wait_for(|link| *link != Link::BlackHole).await.is_err() { return }
                    if to.write_all(&buffer[..count]).await.is_err() { return }
                }
            },
        }
    }
}
