//! The node as the binary starts it, with hooks over real HTTP (a mock that misbehaves on request) or embedded.
//! A slow machine may miss the hooks' 150 ms at any time, so what must succeed is tried until it does.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use mics::config::Mode;
use mics::hookmock::server;
use mics::hookmock::{MockPolicy, MockSettings, MockTenant};
use mics_proto::message::AckStatus;

use crate::support::client::{group, http_post_json, single};
use crate::support::{Client, Frame, Gateway, wait_until};

/// The hook mock in a thread of its own; it lives as long as the process.
fn mock(policy: MockPolicy) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let settings = MockSettings { hook_base_url: format!("http://{address}"), policy, ..MockSettings::default() };
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async {
            server::serve(MockTenant::new(settings), Arc::default(), listener, 1).unwrap().await.unwrap();
        });
    });
    address
}

fn set_faults(mock: SocketAddr, faults: &str) {
    assert_eq!(http_post_json(mock, "/_mock/faults", faults).0, 204);
}

fn gateway(mock: SocketAddr, more: &[(&str, &str)]) -> Gateway {
    let mut variables = vec![
        ("TENANT_AUTH_MAP", format!(r#"{{"t1":"http://{mock}"}}"#)),
        ("TENANT_HOOK_SECRETS", r#"{"t1":"dev-secret-t1"}"#.to_owned()),
    ];
    variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Gateway::from_variables(&variables, Mode::Gateway)
}

/// Lets in, however often the machine is too slow for the hook.
fn connect(gateway: &Gateway, user: &str) -> Client {
    let mut admitted = None;
    wait_until("the hook answers in time", || {
        let mut client = gateway.open(&format!("tenantId=t1&token=valid:{user}&deviceId=d"));
        let welcome = matches!(client.next(), Frame::Binary(_));
        admitted = welcome.then_some(client);
        welcome
    });
    admitted.unwrap()
}

/// A breaker that stays closed, so that each call is made.
fn patient() -> MockPolicy {
    MockPolicy {
        hook_breaker_failure_threshold: Some(100),
        hook_breaker_open_ms: Some(0),
        hook_sign_required: Some(true),
        ..MockPolicy::default()
    }
}

fn counted(gateway: &Gateway, op: &str, result: &str) -> u64 {
    gateway.node.metrics.hook_requests_total.with_label_values(&["t1", op, result]).get()
}

#[test]
fn messages_pass_through_signed_hooks_over_http() {
    let mock = mock(patient());
    let gateway = gateway(mock, &[("HOOK_SIGN_REQUIRED", "true")]);
    let mut u2 = connect(&gateway, "u2");
    let mut u1 = connect(&gateway, "u1");
    assert_eq!(u1.say(single("m", "u2", b"x")).reason, "");
    assert_eq!(u2.delivery().msg_id, "m");
    let mut tries = 0;
    wait_until("the members are answered in time", || {
        tries += 1;
        u1.send(group(&format!("g{tries}"), "group-1"));
        match u1.payload() {
            mics_proto::message::server_frame::Payload::Delivery(_) => u1.ack().status == AckStatus::Sent as i32,
            _ => false,
        }
    });
    assert_eq!(u2.delivery().group_id, "group-1");
    let mut refused = gateway.open("tenantId=t1&token=wrong&deviceId=d");
    let (code, reason) = refused.closed();
    assert_eq!(code, 4001);
    assert!(["invalid token", "hook timeout/failure"].contains(&&*reason), "{reason}");
}

#[test]
fn faulty_hooks_degrade_as_the_contract_says() {
    let mock = mock(patient());
    let gateway = gateway(mock, &[]);
    let mut u2 = connect(&gateway, "u2");
    let mut u1 = connect(&gateway, "u1");

    let faults = [
        (r#"{"check-message":{"status":500}}"#, "http_5xx"),
        (r#"{"check-message":{"status":404}}"#, "http_4xx"),
        (r#"{"check-message":{"status":302}}"#, "http_other"),
        (r#"{"check-message":{"garbage":true}}"#, "decode_error"),
        (r#"{"check-message":{"delay_ms":5000}}"#, "timeout"),
    ];
    for (fault, result) in faults {
        set_faults(mock, fault);
        wait_until(result, || {
            // Unchecked messages pass.
            let id = format!("{result}-{}", counted(&gateway, "CheckMessage", "timeout"));
            assert_eq!(u1.say(single(&id, "u2", b"x")).status, AckStatus::Sent as i32);
            counted(&gateway, "CheckMessage", result) > 0
        });
    }
    set_faults(mock, r#"{"check-message":{"deny":true}}"#);
    let mut tries = 0;
    wait_until("the hook denies in time", || {
        tries += 1;
        u1.say(single(&format!("deny-{tries}"), "u2", b"x")).reason == "denied by mock"
    });

    set_faults(mock, r#"{"get-group-members":{"status":503}}"#);
    let ack = u1.say(group("g", "group-1"));
    assert_eq!((ack.status, &*ack.reason), (AckStatus::Failed as i32, "hook degraded"));

    set_faults(mock, r#"{"auth":{"status":500}}"#);
    let refused = gateway.open("tenantId=t1&token=valid:u3&deviceId=d").closed();
    assert_eq!(refused, (4001, "hook timeout/failure".into()));
    set_faults(mock, "{}");
    connect(&gateway, "u3");
    u2.ping();
}

#[test]
fn a_hook_server_that_is_down_refuses_with_4001() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = gateway(nobody, &[]);
    for _ in 0..5 {
        let refused = gateway.open("tenantId=t1&token=valid:u&deviceId=d").closed();
        assert_eq!(refused, (4001, "hook timeout/failure".into()));
    }
    let refused = gateway.open("tenantId=t1&token=valid:u&deviceId=d").closed();
    assert_eq!(refused, (4001, "auth hook circuit open".into()));
}

#[test]
fn a_tenant_without_a_configured_secret_gets_it_from_its_own_auth() {
    let mock = mock(MockPolicy::default());
    let variables = [("TENANT_AUTH_MAP", format!(r#"{{"t1":"http://{mock}"}}"#))];
    let gateway = Gateway::from_variables(&variables, Mode::Gateway);
    let mut u1 = connect(&gateway, "u1");
    assert_eq!(u1.say(single("m", "u2", b"x")).reason, "");
}

#[test]
fn dev_mode_serves_everything_with_its_embedded_hooks_and_leaves_in_order() {
    let gateway = Gateway::from_variables(&[], Mode::Dev);
    assert!(gateway.get("/").1.contains("<html"), "the chat page");
    let mut u2 = connect(&gateway, "u2");
    let mut u1 = connect(&gateway, "u1");
    assert_eq!(u1.say(single("m", "u2", b"x")).reason, "");
    assert_eq!(u2.delivery().msg_id, "m");
    assert_eq!(u1.say(single("empty", "u2", b"")).reason, "empty or too large message body");
    assert!(gateway.get("/debug/events").1.contains("SingleChatMsg"));
    let mut gateway = gateway;
    gateway.begin_stop();
    for client in [&mut u1, &mut u2] {
        assert_eq!(client.closed(), (4200, "server draining".into()));
    }
    drop((u1, u2));
    gateway.stopped();
}
