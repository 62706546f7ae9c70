//! A strict Bot API: refuses what Telegram refuses (markup, lengths, chats, buttons, double answers, second pollers), and
//! can be told to limit, block, hang, hold its answer or go away.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::telegram_html;

pub const TOKEN: &str = "123456:TEST-token";
pub const BOT_NAME: &str = "mkat_test_bot";

/// How a chat answers `sendMessage`.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatMode {
    Open,
    Blocked,
    /// 429 with this `retry_after` until so many calls were refused.
    Limited {
        seconds: u64,
        calls: u32,
    },
    /// HTTP 502 with a page of HTML.
    Broken,
    /// Takes the request and never answers.
    Hangs,
    /// Takes the message, shows it, and answers only when [`FakeBotApi::release`] is called.
    Holds,
    MovedTo(i64),
}

/// A message that a chat showed.
#[derive(Debug, Clone)]
pub struct Shown {
    pub message_id: i64,
    pub chat: String,
    /// As sent, with markup.
    pub raw: String,
    /// As people see it.
    pub text: String,
    pub thread: Option<i64>,
    pub silent: bool,
    /// Callback data of all buttons.
    pub buttons: Vec<String>,
    /// When the request arrived.
    pub at: SystemTime,
}

#[derive(Default)]
struct State {
    tokens: HashSet<String>,
    chats: HashMap<String, ChatMode>,
    shown: Vec<Shown>,
    /// Method names in the order of the calls.
    calls: Vec<(String, SystemTime)>,
    updates: HashMap<String, VecDeque<Value>>,
    next_update: i64,
    /// Number of the latest poller of each token: an older one is told to go.
    pollers: HashMap<String, u64>,
    open_queries: HashSet<String>,
    answers: Vec<(String, String)>,
    next_message: i64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
    release: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

pub struct FakeBotApi {
    pub url: String,
    shared: Arc<Shared>,
    server: Option<ServerHandle>,
}

impl FakeBotApi {
    /// One bot ([`TOKEN`]) and the open chats named.
    pub fn start(chats: &[&str]) -> Self {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.lock();
            state.tokens.insert(TOKEN.to_owned());
            state.next_message = 100;
            // The real one begins anywhere, too.
            state.next_update = 870_000_000;
            for chat in chats {
                state.chats.insert((*chat).to_owned(), ChatMode::Open);
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Some(serve(listener, shared.clone()));
        FakeBotApi { url, shared, server }
    }

    pub fn remove_bot(&self, token: &str) {
        self.shared.lock().tokens.remove(token);
        self.shared.news.notify_waiters();
    }

    /// Whether every update was confirmed. Only a poll that comes after the last answer does that, and it then waits for
    /// news: so the bot's own poller is connected.
    pub fn all_confirmed(&self) -> bool {
        self.shared.lock().updates.values().all(VecDeque::is_empty)
    }

    pub fn set(&self, chat: &str, mode: ChatMode) {
        self.shared.lock().chats.insert(chat.to_owned(), mode);
    }

    /// Lets all held answers go.
    pub fn release(&self) {
        self.shared.release.notify_waiters();
    }

    pub fn shown(&self, chat: &str) -> Vec<Shown> {
        self.shared.lock().shown.iter().filter(|shown| shown.chat == chat).cloned().collect()
    }

    pub fn calls(&self, method: &str) -> Vec<SystemTime> {
        self.shared.lock().calls.iter().filter(|(name, _)| name == method).map(|(_, at)| *at).collect()
    }

    /// Texts of the answers to one button.
    pub fn answers(&self, query: &str) -> Vec<String> {
        self.shared.lock().answers.iter().filter(|(id, _)| id == query).map(|(_, text)| text.clone()).collect()
    }

    /// Somebody presses a button under a message. Returns the query's id.
    pub fn press(&self, chat: i64, message_id: i64, data: &str) -> String {
        let mut state = self.shared.lock();
        let id = format!("query-{}", state.next_update);
        state.open_queries.insert(id.clone());
        let query = json!({
            "id": id, "data": data, "chat_instance": "1",
            "from": { "id": 7, "is_bot": false, "first_name": "Ann" },
            "message": { "message_id": message_id, "date": 1, "chat": { "id": chat, "type": "private" } },
        });
        push(&mut state, json!({ "callback_query": query }));
        drop(state);
        self.shared.news.notify_waiters();
        id
    }

    /// Somebody writes in a chat.
    pub fn say(&self, chat: i64, text: &str) {
        let mut state = self.shared.lock();
        state.next_message += 1;
        let message = json!({
            "message_id": state.next_message, "date": 1, "text": text,
            "chat": { "id": chat, "type": "private" }, "from": { "id": 7, "is_bot": false, "first_name": "Ann" },
        });
        push(&mut state, json!({ "message": message }));
        drop(state);
        self.shared.news.notify_waiters();
    }

    /// Closes the port. Connections break.
    pub async fn die(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(false).await;
        }
    }

    /// Listens on the same port again.
    pub fn rise(&mut self) {
        let listener = TcpListener::bind(self.url.trim_start_matches("http://")).unwrap();
        self.server = Some(serve(listener, self.shared.clone()));
    }
}

impl Drop for FakeBotApi {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // Nobody waits: the flag is set at once.
            drop(server.stop(false));
        }
    }
}

fn push(state: &mut State, mut update: Value) {
    let id = state.next_update;
    state.next_update += 1;
    update["update_id"] = id.into();
    state.updates.entry(TOKEN.to_owned()).or_default().push_back(update);
}

fn serve(listener: TcpListener, shared: Arc<Shared>) -> ServerHandle {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                App::new().app_data(web::Data::from(shared.clone())).route("/bot{token}/{method}", web::post().to(call))
            })
            .workers(1)
            .disable_signals()
            .shutdown_timeout(0)
            .listen(listener)
            .unwrap()
            .run();
            send.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    receive.recv().unwrap()
}

fn ok(result: Value) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "ok": true, "result": result }))
}

fn no(code: u16, description: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(code).unwrap();
    HttpResponse::build(status).json(json!({ "ok": false, "error_code": code, "description": description }))
}

async fn call(shared: web::Data<Shared>, path: web::Path<(String, String)>, payload: web::Payload) -> HttpResponse {
    let at = SystemTime::now();
    let (token, method) = path.into_inner();
    let body = payload.to_bytes().await.unwrap_or_default();
    {
        let mut state = shared.lock();
        state.calls.push((method.clone(), at));
        if !state.tokens.contains(&token) {
            return no(401, "Unauthorized");
        }
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return no(400, "Bad Request: can't parse request") };
    match method.as_str() {
        "getMe" => ok(json!({ "id": 123456, "is_bot": true, "first_name": "mkat", "username": BOT_NAME })),
        "sendMessage" => send_message(&shared, &body, at).await,
        "getUpdates" => get_updates(&shared, &token, &body).await,
        "answerCallbackQuery" => answer_query(&shared, &body),
        "editMessageReplyMarkup" => edit_markup(&shared, &body),
        _ => no(404, "Not Found"),
    }
}

fn chat_id(body: &Value) -> Option<String> {
    match &body["chat_id"] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

async fn send_message(shared: &Shared, body: &Value, at: SystemTime) -> HttpResponse {
    let Some(chat) = chat_id(body) else { return no(400, "Bad Request: chat_id is empty") };
    let mode = {
        let mut state = shared.lock();
        let Some(mode) = state.chats.get_mut(&chat) else { return no(400, "Bad Request: chat not found") };
        let now = mode.clone();
        if let ChatMode::Limited { calls, .. } = mode {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                *mode = ChatMode::Open;
            }
        }
        now
    };
    match mode {
        ChatMode::Blocked => return no(403, "Forbidden: bot was blocked by the user"),
        ChatMode::Broken => return HttpResponse::BadGateway().body("<html>502 Bad Gateway</html>"),
        ChatMode::Hangs => std::future::pending().await,
        ChatMode::Limited { seconds, .. } => {
            return HttpResponse::TooManyRequests().json(json!({
                "ok": false, "error_code": 429, "description": format!("Too Many Requests: retry after {seconds}"),
                "parameters": { "retry_after": seconds },
            }));
        }
        ChatMode::MovedTo(id) => {
            return HttpResponse::BadRequest().json(json!({
                "ok": false, "error_code": 400, "parameters": { "migrate_to_chat_id": id },
                "description": "Bad Request: group chat was upgraded to a supergroup chat",
            }));
        }
        ChatMode::Open | ChatMode::Holds => {}
    }
    let shown = match check_message(&chat, body, at) {
        Ok(shown) => shown,
        Err(problem) => return no(400, &format!("Bad Request: {problem}")),
    };
    let message_id = {
        let mut state = shared.lock();
        state.next_message += 1;
        let message_id = state.next_message;
        state.shown.push(Shown { message_id, ..shown });
        message_id
    };
    if mode == ChatMode::Holds {
        shared.release.notified().await;
    }
    ok(json!({ "message_id": message_id, "date": 1, "chat": { "id": chat } }))
}

fn check_message(chat: &str, body: &Value, at: SystemTime) -> Result<Shown, String> {
    let raw = body["text"].as_str().unwrap_or_default();
    let text = match body["parse_mode"].as_str() {
        None => raw.to_owned(),
        Some("HTML") => telegram_html::read(raw).map_err(|problem| format!("can't parse entities: {problem}"))?,
        Some(_) => return Err("unsupported parse_mode".into()),
    };
    if text.trim().is_empty() {
        return Err("message text is empty".into());
    }
    if text.encode_utf16().count() > 4096 {
        return Err("message is too long".into());
    }
    Ok(Shown {
        message_id: 0,
        chat: chat.to_owned(),
        raw: raw.to_owned(),
        text,
        thread: body["message_thread_id"].as_i64(),
        silent: body["disable_notification"] == true,
        buttons: buttons(&body["reply_markup"])?,
        at,
    })
}

fn buttons(markup: &Value) -> Result<Vec<String>, String> {
    if markup.is_null() {
        return Ok(Vec::new());
    }
    let rows = markup["inline_keyboard"].as_array().ok_or("can't parse inline keyboard")?;
    let mut found = Vec::new();
    for row in rows {
        for button in row.as_array().ok_or("can't parse inline keyboard row")? {
            let data = button["callback_data"].as_str().unwrap_or_default();
            if button["text"].as_str().is_none_or(str::is_empty) || !(1..=64).contains(&data.len()) {
                return Err("BUTTON_DATA_INVALID".into());
            }
            found.push(data.to_owned());
        }
    }
    Ok(found)
}

async fn get_updates(shared: &Shared, token: &str, body: &Value) -> HttpResponse {
    let offset = body["offset"].as_i64().unwrap_or(0);
    let patience = Duration::from_secs(body["timeout"].as_u64().unwrap_or(0));
    let own = {
        let mut state = shared.lock();
        let poller = state.pollers.entry(token.to_owned()).or_default();
        *poller += 1;
        *poller
    };
    shared.news.notify_waiters();
    let end = tokio::time::Instant::now() + patience;
    loop {
        let news = shared.news.notified();
        {
            let mut state = shared.lock();
            if !state.tokens.contains(token) {
                return no(401, "Unauthorized");
            }
            if state.pollers[token] != own {
                return no(409, "Conflict: terminated by other getUpdates request");
            }
            let waiting = state.updates.entry(token.to_owned()).or_default();
            waiting.retain(|update| update["update_id"].as_i64().unwrap() >= offset);
            if !waiting.is_empty() {
                return ok(waiting.iter().cloned().collect());
            }
        }
        if tokio::time::timeout_at(end, news).await.is_err() {
            return ok(json!([]));
        }
    }
}

fn answer_query(shared: &Shared, body: &Value) -> HttpResponse {
    let id = body["callback_query_id"].as_str().unwrap_or_default();
    let text = body["text"].as_str().unwrap_or_default();
    let mut state = shared.lock();
    state.answers.push((id.to_owned(), text.to_owned()));
    if text.encode_utf16().count() > 200 {
        return no(400, "Bad Request: MESSAGE_TOO_LONG");
    }
    if !state.open_queries.remove(id) {
        return no(400, "Bad Request: query is too old and response timeout expired or query ID is invalid");
    }
    ok(true.into())
}

fn edit_markup(shared: &Shared, body: &Value) -> HttpResponse {
    let new = match buttons(&body["reply_markup"]) {
        Ok(new) => new,
        Err(problem) => return no(400, &format!("Bad Request: {problem}")),
    };
    let mut state = shared.lock();
    let message = state.shown.iter_mut().find(|shown| Some(shown.message_id) == body["message_id"].as_i64());
    match message {
        None => no(400, "Bad Request: message to edit not found"),
        Some(message) if message.buttons == new => no(400, "Bad Request: message is not modified"),
        Some(message) => {
            message.buttons = new;
            ok(true.into())
        }
    }
}
