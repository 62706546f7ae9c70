//! Opening, losing, reopening and leaving a connection.

mod support;

use mics_client::*;
use mics_proto::message::server_frame::Payload;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::*;

#[tokio::test]
async fn connect_ack_opens_the_session() {
    let gate = Gate::start().await;
    let (client, mut events, conn) = gate.pair(MicsClientOptions::default()).await;
    assert_eq!(conn.target, "/ws?tenantId=t1&token=valid%3Au1&deviceId=dev1");
    assert_eq!(client.state(), ConnectionState::Connected);
    assert_eq!(client.session().node_id, "node-1");
    let session = wait_for(&mut events, |e| if let Event::Connected(s) = e { Some(s) } else { None }).await;
    assert_eq!((session.user_id.as_str(), session.trace_id.as_str()), ("u1", "trace"));
}

#[tokio::test]
async fn a_local_address_is_used() {
    let gate = Gate::start().await;
    let options = MicsClientOptions { local_address: Some("127.0.0.3".parse().unwrap()), ..Default::default() };
    let (_client, _events, conn) = gate.pair(options).await;
    assert_eq!(conn.peer.ip().to_string(), "127.0.0.3");
}

#[tokio::test]
async fn refusals_at_the_first_connect_are_errors_and_nothing_goes_on() {
    for code in [4001, 4002, 4429] {
        let gate = Gate::start().await;
        let refuse = async { gate.accept_silent().await.close(code, "no").await };
        let (result, ()) = tokio::join!(MicsClient::connect(gate.params(), quick()), refuse);
        assert!(is_close(&result.err().unwrap(), code));
        assert!(!gate.is_called(Duration::from_millis(200)).await);
    }
    let gate = Gate::start().await;
    let refuse = async { gate.accept_silent().await.send(Payload::ConnectAck(connect_ack(4001))).await };
    let (result, ()) = tokio::join!(MicsClient::connect(gate.params(), quick()), refuse);
    assert!(matches!(result.err().unwrap(), MicsError::ConnectRefused(4001)));
}

#[tokio::test]
async fn silence_instead_of_connect_ack_is_a_timeout() {
    let gate = Gate::start().await;
    let options = MicsClientOptions { connect_timeout: Duration::from_millis(200), ..Default::default() };
    let (result, _conn) = tokio::join!(MicsClient::connect(gate.params(), options), gate.accept_silent());
    assert!(matches!(result.err().unwrap(), MicsError::ConnectTimeout));
}

#[tokio::test]
async fn an_attempt_that_is_given_up_is_reset() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut params = Gate::start().await.params();
    params.url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let options = MicsClientOptions { connect_timeout: Duration::from_millis(200), ..Default::default() };
    let silent = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let both = async { tokio::join!(MicsClient::connect(params, options), silent) };
    let (result, read) = tokio::time::timeout(HANG, both).await.expect("the attempt was not ended");
    assert!(matches!(result.err().unwrap(), MicsError::ConnectTimeout));
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn draining_brings_the_client_back_with_a_fresh_token() {
    let gate = Gate::start().await;
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let token = TokenProvider::from_fn(move || {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        async move { Ok(format!("token{n}")) }
    });
    let params = ConnectParams { token, ..gate.params() };
    let (client, first) = tokio::join!(MicsClient::connect(params, quick()), gate.accept());
    let (client, mut events) = client.unwrap();
    let (second, ()) = tokio::join!(gate.accept(), first.close(4200, "server draining"));
    assert!(second.target.contains("token=token1"), "{}", second.target);
    let (info, again) = wait_for(&mut events, |e| match e {
        Event::Closed { info, reconnecting } => Some((info, reconnecting)),
        _ => None,
    })
    .await;
    assert_eq!((info.code, info.reason.as_str(), again), (4200, "server draining", true));
    wait_for(&mut events, |e| matches!(e, Event::Connected(_)).then_some(())).await;
    assert_eq!(client.state(), ConnectionState::Connected);
    assert_eq!(client.stats().snapshot().reconnects, 1);
}

#[tokio::test]
async fn a_link_that_breaks_without_a_close_is_reopened() {
    let gate = Gate::start().await;
    let (_client, mut events, conn) = gate.pair(quick()).await;
    drop(conn);
    let _second = gate.accept().await;
    let code = wait_for(&mut events, |e| if let Event::Closed { info, .. } = e { Some(info.code) } else { None }).await;
    assert_eq!(code, 1006);
}

#[tokio::test]
async fn terminal_codes_end_the_client() {
    for code in [1002, 1007, 4001, 4002, 4409, 4410] {
        let gate = Gate::start().await;
        let (client, events, conn) = gate.pair(quick()).await;
        conn.close(code, "go away").await;
        let seen = rest(events).await;
        let info = CloseInfo { code, reason: "go away".into() };
        assert!(seen.contains(&Event::Closed { info, reconnecting: false }), "{seen:?}");
        assert_eq!(seen.last(), Some(&Event::State(ConnectionState::Disconnected)));
        assert_eq!(client.state(), ConnectionState::Disconnected);
        assert!(matches!(client.send_single_chat("u2", "x", None).await, Err(MicsError::Disconnected)));
        assert!(!gate.is_called(Duration::from_millis(200)).await, "{code} must not reconnect");
    }
}

#[tokio::test]
async fn a_close_code_that_arrived_counts_although_writing_fails() {
    let gate = Gate::start().await;
    let (client, mut events, conn) = gate.pair(quick()).await;
    client.submit_single_chat("u2", "never read", None).unwrap();
    conn.close_and_reset(4409, "replaced").await;
    // No await in between: the client has both before it, a broken socket to write to and a close frame to read.
    client.submit_single_chat("u2", "too late", None).unwrap();
    let closed = |e| if let Event::Closed { info, reconnecting } = e { Some((info.code, reconnecting)) } else { None };
    assert_eq!(wait_for(&mut events, closed).await, (4409, false));
}

#[tokio::test]
async fn a_token_refused_while_reconnecting_ends_the_client() {
    let gate = Gate::start().await;
    let (_client, events, conn) = gate.pair(quick()).await;
    conn.close(4200, "").await;
    gate.accept_silent().await.close(4001, "expired").await;
    let info = CloseInfo { code: 4001, reason: "expired".into() };
    assert!(rest(events).await.contains(&Event::Closed { info, reconnecting: false }));
}

#[tokio::test]
async fn disconnect_says_goodbye_and_stays_disconnected() {
    let gate = Gate::start().await;
    let (client, events, mut conn) = gate.pair(quick()).await;
    let server = async {
        let last = conn.raw().await;
        while conn.raw().await.is_some() {}
        last
    };
    let ((), last) = tokio::join!(client.disconnect(), server);
    let Some(tokio_tungstenite::tungstenite::Message::Close(Some(frame))) = last else { panic!("{last:?}") };
    assert_eq!(u16::from(frame.code), 1000);
    assert_eq!(client.state(), ConnectionState::Disconnected);
    assert_eq!(rest(events).await.last(), Some(&Event::State(ConnectionState::Disconnected)));
    assert!(!gate.is_called(Duration::from_millis(300)).await);
    client.disconnect().await;
}

#[tokio::test]
async fn disconnect_ends_a_reconnect_under_way() {
    let gate = Gate::start().await;
    let options = MicsClientOptions { connect_timeout: Duration::from_secs(60), ..quick() };
    let (client, events, conn) = gate.pair(options).await;
    conn.close(4200, "").await;
    let _never_answered = gate.accept_silent().await;
    assert_eq!(client.state(), ConnectionState::Reconnecting);
    tokio::time::timeout(HANG, client.disconnect()).await.unwrap();
    assert_eq!(client.state(), ConnectionState::Disconnected);
    rest(events).await;
    assert!(!gate.is_called(Duration::from_millis(200)).await);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    let gate = Gate::start().await;
    let (client, _events, mut conn) = gate.pair(quick()).await;
    let copy = client.clone();
    drop(client);
    drop(copy);
    assert!(matches!(conn.raw().await, Some(tokio_tungstenite::tungstenite::Message::Close(_))));
}

#[tokio::test]
async fn a_silent_gateway_is_given_up_although_the_link_looks_open() {
    let gate = Gate::start().await;
    let options = MicsClientOptions {
        heartbeat_interval: Duration::from_millis(50),
        watchdog_slack: Duration::from_millis(50),
        ..quick()
    };
    let (client, mut events, mut first) = gate.pair(options).await;
    assert!(matches!(first.payload().await, mics_proto::message::client_frame::Payload::HeartbeatPing(_)));
    let _second = gate.accept().await;
    let info = wait_for(&mut events, |e| if let Event::Closed { info, .. } = e { Some(info) } else { None }).await;
    assert_eq!((info.code, info.reason.as_str()), (1006, "no frame from the gateway"));
    assert!(client.stats().snapshot().heartbeats_sent >= 1);
}
