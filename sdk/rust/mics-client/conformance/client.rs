//! The conformance program of this SDK: commands as JSON lines on standard input, answers and events on standard output.
//! The protocol is described in `sdk/conformance/README.md`. It has no logic of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mics_client::{
    AesGcmMessageCrypto, CloseAction, CloseInfo, ConnectParams, ConnectionState, Event, EventStream, MessageAck,
    MicsClient, MicsClientOptions, MicsError, MicsSession, TokenProvider,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::LocalSet;

/// The client between `connect` and `disconnect`.
type Slot = Rc<RefCell<Option<MicsClient>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    LocalSet::new().run_until(serve()).await
}

async fn serve() -> std::io::Result<()> {
    let slot = Slot::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Ok(command) = serde_json::from_str::<Value>(&line) else { continue };
        if command["op"] == "exit" {
            answer(&command, Ok(json!({})));
            break;
        }
        // Tasks start in the order in which they are spawned, so sends keep the order of the lines.
        let slot = slot.clone();
        tokio::task::spawn_local(async move {
            let outcome = run(&command, &slot).await;
            answer(&command, outcome);
        });
    }
    Ok(())
}

async fn run(command: &Value, slot: &Slot) -> Result<Value, MicsError> {
    match command["op"].as_str().unwrap_or_default() {
        "connect" => connect(command, slot).await,
        "send" => {
            let id = command["msgId"].as_str().map(str::to_owned);
            let sent = client(slot)?.send_single_chat(text(command, "to"), body(command)?, id).await?;
            Ok(ack(&sent))
        }
        "sendGroup" => {
            let id = command["msgId"].as_str().map(str::to_owned);
            let sent = client(slot)?.send_group_chat(text(command, "group"), body(command)?, id).await?;
            Ok(ack(&sent))
        }
        "disconnect" => {
            client(slot)?.disconnect().await;
            Ok(json!({}))
        }
        _ => Err(MicsError::InvalidArgument("unknown op")),
    }
}

async fn connect(command: &Value, slot: &Slot) -> Result<Value, MicsError> {
    let params = ConnectParams {
        url: text(command, "url").to_owned(),
        tenant_id: text(command, "tenantId").to_owned(),
        device_id: text(command, "deviceId").to_owned(),
        token: tokens(&command["tokens"]),
    };
    match MicsClient::connect(params, options(command)?).await {
        Ok((client, events)) => {
            let opened = session(&client.session());
            *slot.borrow_mut() = Some(client);
            tokio::task::spawn_local(report(events));
            Ok(json!({ "session": opened }))
        }
        Err(error) => {
            if let MicsError::Closed(info) = &error {
                closed(info, error.action() == CloseAction::Stop);
            }
            Err(error)
        }
    }
}

/// One token per attempt, the last one again and again.
fn tokens(list: &Value) -> TokenProvider {
    let list: Vec<String> =
        list.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect();
    let next = AtomicUsize::new(0);
    TokenProvider::from_fn(move || {
        let at = next.fetch_add(1, Ordering::Relaxed).min(list.len().saturating_sub(1));
        std::future::ready(list.get(at).cloned().ok_or_else(|| "no tokens".into()))
    })
}

fn options(command: &Value) -> Result<MicsClientOptions, MicsError> {
    let given = &command["options"];
    let mut options = MicsClientOptions::default();
    let times = [
        ("connectTimeoutMs", &mut options.connect_timeout),
        ("ackTimeoutMs", &mut options.ack_timeout),
        ("heartbeatIntervalMs", &mut options.heartbeat_interval),
        ("reconnectMinDelayMs", &mut options.reconnect_min_delay),
        ("reconnectMaxDelayMs", &mut options.reconnect_max_delay),
    ];
    for (name, place) in times {
        if let Some(ms) = given[name].as_u64() {
            *place = Duration::from_millis(ms);
        }
    }
    if let Some(attempts) = given["maxSendAttempts"].as_u64() {
        options.max_send_attempts = attempts.try_into().unwrap_or(u32::MAX);
    }
    if let Some(again) = given["autoReconnect"].as_bool() {
        options.auto_reconnect = again;
    }
    if let Some(key) = command["key"].as_str() {
        options.message_crypto = Some(Arc::new(AesGcmMessageCrypto::new(&unhex(key)?)?));
    }
    Ok(options)
}

async fn report(mut events: EventStream) {
    while let Some(event) = events.next().await {
        match event {
            Event::State(state) => print(&json!({ "event": "state", "state": state_name(state) })),
            Event::Connected(opened) => print(&json!({ "event": "connected", "session": session(&opened) })),
            Event::Delivery(delivery) => {
                let m = delivery.message;
                let body = STANDARD.encode(&m.msg_body);
                let (id, from, group) = (m.msg_id, m.user_id, m.group_id);
                print(&json!({ "event": "delivery", "msgId": id, "from": from, "group": group, "body": body }));
            }
            Event::ServerError(e) => print(&json!({ "event": "serverError", "code": e.code, "message": e.message })),
            Event::Closed { info, reconnecting } => closed(&info, !reconnecting),
            Event::Ack(_) | Event::Overflow { .. } => {}
        }
    }
}

fn closed(info: &CloseInfo, terminal: bool) {
    print(&json!({ "event": "closed", "code": info.code, "terminal": terminal }));
}

fn state_name(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Disconnected => "disconnected",
        ConnectionState::Connecting => "connecting",
        ConnectionState::Connected => "connected",
        ConnectionState::Reconnecting => "reconnecting",
        ConnectionState::Disposing => "disposing",
    }
}

fn session(s: &MicsSession) -> Value {
    let MicsSession { tenant_id, user_id, device_id, node_id, trace_id } = s;
    json!({ "tenantId": tenant_id, "userId": user_id, "deviceId": device_id, "nodeId": node_id, "traceId": trace_id })
}

fn ack(ack: &MessageAck) -> Value {
    json!({ "ack": { "msgId": ack.msg_id, "status": ack.status().as_str_name(), "reason": ack.reason } })
}

fn client(slot: &Slot) -> Result<MicsClient, MicsError> {
    slot.borrow().clone().ok_or(MicsError::Disconnected)
}

fn text<'a>(command: &'a Value, name: &str) -> &'a str {
    command[name].as_str().unwrap_or_default()
}

fn body(command: &Value) -> Result<Vec<u8>, MicsError> {
    STANDARD.decode(text(command, "body")).map_err(|_| MicsError::InvalidArgument("body is not base64"))
}

fn unhex(text: &str) -> Result<Vec<u8>, MicsError> {
    let pair = |i| text.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(pair).collect::<Option<_>>().ok_or(MicsError::InvalidArgument("key is not hex"))
}

fn answer(command: &Value, outcome: Result<Value, MicsError>) {
    let mut line = json!({ "n": command["n"], "ok": outcome.is_ok() });
    match outcome {
        Ok(fields) => {
            line.as_object_mut().into_iter().for_each(|l| l.extend(fields.as_object().cloned().unwrap_or_default()))
        }
        Err(error) => {
            line["error"] = json!(error.to_string());
            if let MicsError::Closed(info) = &error {
                line["code"] = json!(info.code);
            }
        }
    }
    print(&line);
}

/// One whole line, flushed: standard output is line buffered.
fn print(line: &Value) {
    println!("{line}");
}
