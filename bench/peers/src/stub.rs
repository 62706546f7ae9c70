//! The hook that every server asks: HTTP/1.1 over keep-alive, says yes to everything, counts what it was asked. It must
//! stay as cheap for one server as for another.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use mics_proto::hook::{
    AuthRequest, AuthResponse, CheckMessageRequest, CheckMessageResponse, GetGroupMembersRequest,
    GetGroupMembersResponse, GetOfflineMessagesResponse, TenantRuntimeConfig,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Stub {
    port: u16,
    group_size: usize,
    checks: Cell<u64>,
}

/// Serves until the process ends. `GET /count` answers how many messages were checked.
pub async fn serve(port: u16, group_size: usize) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let stub = Rc::new(Stub { port, group_size, checks: Cell::new(0) });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let stub = stub.clone();
        // An error means that the peer left.
        tokio::task::spawn_local(async move { connection(&stub, stream).await.ok() });
    }
}

async fn connection(stub: &Stub, mut stream: TcpStream) -> io::Result<()> {
    let mut input = BytesMut::new();
    loop {
        while let Some((path, head, body)) = request(&input)? {
            let answer = stub.answer(&path, &input[head..head + body]);
            input.advance(head + body);
            stream.write_all(&answer).await?;
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Path, bytes of head and bytes of body, once all of it is there. Chunked bodies are not understood.
fn request(input: &[u8]) -> io::Result<Option<(String, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(input).map_err(io::Error::other)? else { return Ok(None) };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
    let path = request.path.unwrap_or_default().to_owned();
    Ok((input.len() >= head + length).then_some((path, head, length)))
}

fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

impl Stub {
    fn count(&self) {
        self.checks.set(self.checks.get() + 1);
    }

    fn answer(&self, path: &str, body: &[u8]) -> Vec<u8> {
        match path {
            "/auth" => response("200 OK", &self.auth(body).encode_to_vec()),
            "/check-message" => {
                self.count();
                let meta = CheckMessageRequest::decode(body).unwrap_or_default().meta;
                response("200 OK", &CheckMessageResponse { meta, allow: true, ..Default::default() }.encode_to_vec())
            }
            "/get-group-members" => {
                let meta = GetGroupMembersRequest::decode(body).unwrap_or_default().meta;
                let user_ids = (1..=self.group_size).map(|n| format!("u{n}")).collect();
                response("200 OK", &GetGroupMembersResponse { meta, user_ids, ..Default::default() }.encode_to_vec())
            }
            "/get-offline-messages" => {
                response("200 OK", &GetOfflineMessagesResponse { ok: true, ..Default::default() }.encode_to_vec())
            }
            "/plain-auth" => response("200 OK", b"yes"),
            "/plain-check" => {
                self.count();
                response("200 OK", b"yes")
            }
            // To Nchan this means: publish the message as it came.
            "/as-it-is" => {
                self.count();
                b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()
            }
            "/count" => response("200 OK", self.checks.get().to_string().as_bytes()),
            _ => response("404 Not Found", b""),
        }
    }

    fn auth(&self, body: &[u8]) -> AuthResponse {
        let request = AuthRequest::decode(body).unwrap_or_default();
        let config = TenantRuntimeConfig {
            hook_base_url: format!("http://127.0.0.1:{}", self.port),
            heartbeat_timeout_seconds: 120,
            tenant_secret: "dev-secret-t1".into(),
            ..Default::default()
        };
        AuthResponse {
            ok: true,
            user_id: request.token.trim_start_matches("valid:").to_owned(),
            device_id: request.device_id,
            config: Some(config),
            meta: request.meta,
            reason: String::new(),
        }
    }
}
