//! An HTTP server that writes down every request and answers as it is told: for webhooks and robots.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub raw: Vec<u8>,
    pub body: Value,
    pub at: SystemTime,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

type Headers = Vec<(&'static str, &'static str)>;

struct Shared {
    received: Mutex<Vec<Received>>,
    /// Status, headers and body.
    answer: Mutex<(u16, Headers, String)>,
}

pub struct Receiver {
    pub url: String,
    shared: Arc<Shared>,
    server: ServerHandle,
}

impl Receiver {
    pub fn start() -> Self {
        let answer = Mutex::new((200, Vec::new(), String::new()));
        let shared = Arc::new(Shared { received: Mutex::default(), answer });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (send, receive) = std::sync::mpsc::channel();
        let data = shared.clone();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(web::Data::from(data.clone())).default_service(web::to(take));
                let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
                send.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Receiver { url, shared, server: receive.recv().unwrap() }
    }

    /// What every further request is answered.
    pub fn answer(&self, status: u16, headers: &[(&'static str, &'static str)], body: &str) {
        *self.shared.answer.lock().unwrap() = (status, headers.to_vec(), body.to_owned());
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn take(shared: web::Data<Shared>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let headers = request.headers().iter();
    let received = Received {
        path: request.path().to_owned(),
        query: url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect(),
        headers: headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned())).collect(),
        raw: body.to_vec(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        at: SystemTime::now(),
    };
    shared.received.lock().unwrap().push(received);
    let (status, headers, body) = shared.answer.lock().unwrap().clone();
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap());
    for header in headers {
        response.insert_header(header);
    }
    response.body(body)
}
