//! `GET /ws`: refuse early what can be refused early, answer the handshake, start the session. Must not decide who a
//! client is.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;

use actix_codec::Framed;
use actix_http::h1::Codec;
use actix_http::header;
use actix_http::{HttpMessage, Request, ws};
use bytes::BytesMut;
use futures_util::future::poll_fn;
use mics_actors::node::Node;
use mics_actors::session::{self, Hello};
use mics_actors::wire::Wire;

use super::wire::{Socket, SocketWire};

/// True for the path of the WebSocket endpoint: any case, one trailing slash allowed.
pub fn is_ws_path(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path).eq_ignore_ascii_case("/ws")
}

/// Names in any case; a repeated one is joined with commas; `+` and `%xx` are decoded.
pub fn hello(query: &str) -> Hello {
    let value = |name: &str| {
        let values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.into_owned()).collect::<Vec<_>>().join(",")
    };
    Hello { tenant: value("tenantId"), token: value("token"), device: value("deviceId") }
}

/// Takes a connection whose request asks for an upgrade.
pub async fn upgrade<S: Socket>(node: Arc<Node>, request: Request, framed: Framed<S, Codec>) -> io::Result<()> {
    let parts = framed.into_parts();
    parts.io.stream().set_nodelay(true)?;
    // A copy, normally of nothing: the HTTP read buffer itself would stay allocated as long as the session.
    let first = BytesMut::from(&parts.read_buf[..]);
    let wire = Rc::new(SocketWire::new(parts.io, first, node.settings.max_frame_bytes()));
    let (places, key) = match accept(&node, &request) {
        Ok(accepted) => accepted,
        Err((status, reason)) => {
            node.metrics.ws_handshakes_refused_total.with_label_values(&[reason]).inc();
            return respond(&*wire, status, if status.starts_with("503") { "retry-after: 2\r\n" } else { "" }).await;
        }
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {key}\r\n\r\n"
    );
    write_all(&*wire, answer.as_bytes()).await?;
    let hello = hello(request.uri().query().unwrap_or_default());
    let (place, handshake) = places;
    session::open(node, hello, wire, place, handshake);
    Ok(())
}

type Places = (mics_actors::node::Counted, mics_actors::node::Counted);

/// Everything that can be refused before the upgrade, cheapest first: (status line, reason).
fn accept(node: &Arc<Node>, request: &Request) -> Result<(Places, String), (&'static str, &'static str)> {
    const UNAVAILABLE: &str = "503 Service Unavailable";
    if !is_ws_path(request.path()) {
        return Err(("404 Not Found", "path"));
    }
    if node.draining() {
        return Err((UNAVAILABLE, "draining"));
    }
    ws::verify_handshake(request.head()).map_err(|_| ("400 Bad Request", "handshake"))?;
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).ok_or(("400 Bad Request", "handshake"))?;
    let place = node.open_socket().map_err(|reason| (UNAVAILABLE, reason))?;
    let handshake = node.open_handshake().map_err(|reason| (UNAVAILABLE, reason))?;
    let key = ws::hash_key(key.as_bytes());
    Ok(((place, handshake), String::from_utf8_lossy(&key).into_owned()))
}

async fn respond(wire: &dyn Wire, status: &str, headers: &str) -> io::Result<()> {
    let answer = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: 0\r\n\r\n");
    write_all(wire, answer.as_bytes()).await?;
    wire.shutdown();
    Ok(())
}

async fn write_all(wire: &dyn Wire, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match wire.try_write_vectored(&[IoSlice::new(bytes)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => poll_fn(|cx| wire.poll_writable(cx)).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_read_as_the_reference_reads_it() {
        let hello = hello("TENANTID=t1&token=valid%3Au+1&deviceid=d1&deviceId=d2");
        assert_eq!((hello.tenant.as_str(), hello.token.as_str(), hello.device.as_str()), ("t1", "valid:u 1", "d1,d2"));
    }

    #[test]
    fn the_path_may_be_in_any_case_with_one_slash_behind() {
        for path in ["/ws", "/WS", "/ws/"] {
            assert!(is_ws_path(path), "{path}");
        }
        for path in ["/", "/ws//", "/wss", "/ws/x"] {
            assert!(!is_ws_path(path), "{path}");
        }
    }
}
