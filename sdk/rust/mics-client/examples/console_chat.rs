//! A chat on the console. Lines go to `--toUserId`, `@user text` to another user, `#group text` to a group; `/quit` or the
//! end of input leaves. Try it with `mics dev`:
//!
//! cargo run -p mics-client --example console_chat -- --token valid:u1 --toUserId u2

use std::collections::HashMap;

use mics_client::{AckStatus, ConnectParams, Event, EventStream, MessageAck, MicsClient, MicsClientOptions, MicsError};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The SDK logs with `tracing`; RUST_LOG=mics_client=debug shows more.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let flags = flags();
    let get = |name: &str, default: &str| flags.get(name).cloned().unwrap_or(default.into());
    let params = ConnectParams {
        url: get("url", "ws://localhost:8080/ws"),
        tenant_id: get("tenantId", "t1"),
        token: get("token", "valid:u1").into(),
        device_id: get("deviceId", "dev1"),
    };
    let peer = get("toUserId", "u2");
    let (client, events) = MicsClient::connect(params, MicsClientOptions::default()).await?;
    println!("* connected as {}", client.session().user_id);
    let printing = tokio::spawn(print_events(events));

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "/quit" {
            break;
        }
        report(&line, send(&client, &peer, &line).await);
    }
    client.disconnect().await;
    printing.await?;
    Ok(())
}

/// `--name value` pairs.
fn flags() -> HashMap<String, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    words.chunks_exact(2).map(|pair| (pair[0].trim_start_matches('-').to_owned(), pair[1].clone())).collect()
}

async fn send(client: &MicsClient, peer: &str, line: &str) -> Result<MessageAck, MicsError> {
    let addressed = |sign| line.strip_prefix(sign).and_then(|rest| rest.split_once(' '));
    if let Some((group, text)) = addressed('#') {
        return client.send_group_chat(group, text.to_owned(), None).await;
    }
    let (user, text) = addressed('@').unwrap_or((peer, line));
    client.send_single_chat(user, text.to_owned(), None).await
}

fn report(line: &str, outcome: Result<MessageAck, MicsError>) {
    match outcome {
        Ok(ack) if ack.status() == AckStatus::Sent => println!("* sent: {line}"),
        Ok(ack) => println!("* refused ({}): {line}", ack.reason),
        Err(error) => println!("* not sent ({error}): {line}"),
    }
}

async fn print_events(mut events: EventStream) {
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(delivery) => {
                let (m, text) = (&delivery.message, String::from_utf8_lossy(&delivery.message.msg_body));
                let place = if m.group_id.is_empty() { String::new() } else { format!(" in {}", m.group_id) };
                println!("{}{place}: {text}", m.user_id);
            }
            Event::Closed { info, reconnecting } => {
                let next = if reconnecting { "coming back" } else { "for good" };
                println!("* connection closed, {next}: {} {}", info.code, info.reason);
            }
            Event::Overflow { dropped } => println!("* {dropped} events lost: read too slowly"),
            _ => {}
        }
    }
}
