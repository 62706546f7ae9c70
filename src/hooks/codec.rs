//! Domain <-> protobuf for the four hooks. Must not do I/O or know HTTP.

use bytes::Bytes;
use mics_domain::ids::is_blank;
use mics_domain::policy::{HookFailure, HookOverrides};
use mics_domain::ports::{AuthAnswer, CheckAnswer, HookTarget, Identity, MembersPage, MembersQuestion, OfflinePage};
use mics_domain::tenant::{Secret, TenantConfig};
use mics_proto::hook;
use mics_proto::message::MessageRequest;
use mics_proto::prost::Message as _;

/// Meta of one call, unsigned. `request_id` is fresh per call; the time is Unix ms of the gateway.
pub fn meta(to: &HookTarget, request_id: String, timestamp_ms: i64) -> hook::HookMeta {
    hook::HookMeta {
        tenant_id: to.tenant.to_string(),
        request_id,
        timestamp_ms,
        sign: String::new(),
        trace_id: to.trace_id.clone(),
    }
}

/// Question of /get-group-members.
pub fn members_request(meta: hook::HookMeta, question: &MembersQuestion) -> hook::GetGroupMembersRequest {
    hook::GetGroupMembersRequest {
        meta: Some(meta),
        group_id: question.group.clone(),
        cursor: question.cursor.clone(),
        max_members: i32::try_from(question.max_members).unwrap_or(i32::MAX),
        known_version: question.known_version.clone(),
    }
}

/// Question of /get-offline-messages.
pub fn offline_request(
    meta: hook::HookMeta,
    user: &str,
    device: &str,
    max_messages: u32,
    cursor: &str,
) -> hook::GetOfflineMessagesRequest {
    hook::GetOfflineMessagesRequest {
        meta: Some(meta),
        user_id: user.to_owned(),
        device_id: device.to_owned(),
        max_messages: i32::try_from(max_messages).unwrap_or(i32::MAX),
        cursor: cursor.to_owned(),
    }
}

/// Reads /auth's answer. Yes needs `ok`, a config and a user id; anything less is a refusal with the hook's reason.
pub fn auth_answer(body: Bytes, base_url: &str) -> Result<AuthAnswer, HookFailure> {
    let answer = hook::AuthResponse::decode(body).map_err(|_| HookFailure::Decode)?;
    match answer.config {
        Some(config) if answer.ok && !is_blank(&answer.user_id) => {
            let config = tenant_config(config, base_url);
            Ok(AuthAnswer::Accepted(Box::new(Identity { user: answer.user_id, config })))
        }
        _ => Ok(AuthAnswer::Refused(answer.reason)),
    }
}

/// The tenant's config with defaults applied. `base_url`, where /auth was asked, stands in for a blank hook URL.
pub fn tenant_config(config: hook::TenantRuntimeConfig, base_url: &str) -> TenantConfig {
    let hook_base_url = if is_blank(&config.hook_base_url) { base_url.to_owned() } else { config.hook_base_url };
    TenantConfig {
        hook_base_url,
        heartbeat_timeout_ms: TenantConfig::seconds_or(
            config.heartbeat_timeout_seconds,
            TenantConfig::DEFAULT_HEARTBEAT_SECONDS,
        ),
        offline_ttl_ms: TenantConfig::seconds_or(
            config.offline_buffer_ttl_seconds,
            TenantConfig::DEFAULT_OFFLINE_TTL_SECONDS,
        ),
        tenant_max_connections: TenantConfig::limit(config.tenant_max_connections),
        user_max_connections: TenantConfig::limit(config.user_max_connections),
        tenant_max_message_qps: TenantConfig::limit(config.tenant_max_message_qps),
        secret: Secret::new(&config.tenant_secret),
        hooks: HookOverrides {
            max_concurrency: config.hook_max_concurrency,
            queue_timeout_ms: config.hook_queue_timeout_ms,
            breaker_failure_threshold: config.hook_breaker_failure_threshold,
            breaker_open_ms: config.hook_breaker_open_ms,
            sign_required: config.hook_sign_required,
        },
        offline_use_hook_pull: config.offline_use_hook_pull.unwrap_or(false),
        group_cache_ttl_ms: u64::from(TenantConfig::limit(config.group_cache_ttl_seconds.unwrap_or(0))) * 1000,
        group_page_size: TenantConfig::group_page(config.group_page_size.unwrap_or(0)),
    }
}

/// Reads /check-message's answer; an empty body is a "no".
pub fn check_answer(body: Bytes) -> Result<CheckAnswer, HookFailure> {
    let answer = hook::CheckMessageResponse::decode(body).map_err(|_| HookFailure::Decode)?;
    Ok(CheckAnswer { allow: answer.allow, reason: answer.reason })
}

/// Reads one page of /get-group-members' answer.
pub fn members_page(body: Bytes) -> Result<MembersPage, HookFailure> {
    let page = hook::GetGroupMembersResponse::decode(body).map_err(|_| HookFailure::Decode)?;
    let hook::GetGroupMembersResponse { meta: _, user_ids: members, next_cursor, version, not_modified } = page;
    Ok(MembersPage { members, next_cursor, version, not_modified })
}

/// `GetOfflineMessagesResponse` with the messages left as bytes, so that their unknown fields survive.
#[derive(Clone, PartialEq, mics_proto::prost::Message)]
#[prost(prost_path = "mics_proto::prost")]
struct RawOfflinePage {
    #[prost(bool, tag = "2")]
    ok: bool,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    messages: Vec<Bytes>,
    #[prost(string, tag = "5")]
    next_cursor: String,
    #[prost(bool, tag = "6")]
    has_more: bool,
}

/// Reads /get-offline-messages' answer. The messages share the memory of `body`; one that is no `MessageRequest`
/// spoils the page.
pub fn offline_page(body: Bytes) -> Result<OfflinePage, HookFailure> {
    let page = RawOfflinePage::decode(body).map_err(|_| HookFailure::Decode)?;
    if page.messages.iter().any(|message| MessageRequest::decode(message.clone()).is_err()) {
        return Err(HookFailure::Decode);
    }
    Ok(OfflinePage { ok: page.ok, messages: page.messages, next_cursor: page.next_cursor, has_more: page.has_more })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(answer: hook::AuthResponse) -> AuthAnswer {
        auth_answer(answer.encode_to_vec().into(), "http://auth").unwrap()
    }

    #[test]
    fn auth_says_yes_only_with_ok_config_and_user() {
        let yes = hook::AuthResponse {
            ok: true,
            user_id: "u1".into(),
            config: Some(hook::TenantRuntimeConfig::default()),
            reason: "why".into(),
            ..Default::default()
        };
        assert!(matches!(auth(yes.clone()), AuthAnswer::Accepted(identity) if identity.user == "u1"));
        let refused = [
            hook::AuthResponse { ok: false, ..yes.clone() },
            hook::AuthResponse { config: None, ..yes.clone() },
            hook::AuthResponse { user_id: " \u{3000}".into(), ..yes },
        ];
        for answer in refused {
            assert!(matches!(auth(answer), AuthAnswer::Refused(reason) if reason == "why"));
        }
        assert!(matches!(auth_answer(Bytes::new(), ""), Ok(AuthAnswer::Refused(reason)) if reason.is_empty()));
    }

    #[test]
    fn absent_config_fields_get_their_defaults() {
        let config = tenant_config(hook::TenantRuntimeConfig::default(), "http://auth/base");
        let want = TenantConfig {
            hook_base_url: "http://auth/base".into(),
            heartbeat_timeout_ms: 30_000,
            offline_ttl_ms: 300_000,
            ..TenantConfig::default()
        };
        assert_eq!(config, want);
    }

    #[test]
    fn present_config_fields_are_taken_and_negative_limits_are_none() {
        let config = hook::TenantRuntimeConfig {
            hook_base_url: "http://hooks".into(),
            heartbeat_timeout_seconds: 7,
            offline_buffer_ttl_seconds: -1,
            tenant_max_connections: -5,
            user_max_connections: 8,
            tenant_max_message_qps: 9,
            tenant_secret: "s".into(),
            hook_queue_timeout_ms: Some(0),
            hook_sign_required: Some(false),
            offline_use_hook_pull: Some(true),
            group_cache_ttl_seconds: Some(60),
            group_page_size: Some(1000),
            ..Default::default()
        };
        let want = TenantConfig {
            hook_base_url: "http://hooks".into(),
            heartbeat_timeout_ms: 7000,
            offline_ttl_ms: 300_000,
            tenant_max_connections: 0,
            user_max_connections: 8,
            tenant_max_message_qps: 9,
            secret: Secret::new("s"),
            hooks: HookOverrides { queue_timeout_ms: Some(0), sign_required: Some(false), ..Default::default() },
            offline_use_hook_pull: true,
            group_cache_ttl_ms: 60_000,
            group_page_size: 1000,
        };
        assert_eq!(tenant_config(config, "http://auth"), want);
    }

    #[test]
    fn page_sizes_have_bounds_and_no_size_means_no_pages() {
        let size = |size| {
            let config = hook::TenantRuntimeConfig { group_page_size: Some(size), ..Default::default() };
            tenant_config(config, "").group_page_size
        };
        assert_eq!([-1, 0, 1, 200, 5_000, i32::MAX].map(size), [0, 0, 200, 200, 5_000, 50_000]);
    }

    #[test]
    fn a_question_that_wants_nothing_new_is_the_one_that_older_tenants_know() {
        let meta = || hook::HookMeta { tenant_id: "t1".into(), ..Default::default() };
        let plain = MembersQuestion { group: "g".into(), ..Default::default() };
        // meta {tenant_id "t1"}, group_id "g"; nothing else.
        let known = [0x0a, 4, 0x0a, 2, b't', b'1', 0x12, 1, b'g'];
        assert_eq!(members_request(meta(), &plain).encode_to_vec(), known);

        let page = MembersQuestion { cursor: "c".into(), max_members: 5, known_version: "v".into(), ..plain };
        let new = [[0xa2, 0x06, 1, b'c'].as_slice(), &[0xa8, 0x06, 5], &[0xb2, 0x06, 1, b'v']].concat();
        assert_eq!(members_request(meta(), &page).encode_to_vec(), [&known[..], &new].concat());
    }

    #[test]
    fn a_page_is_read_with_its_cursor_and_version() {
        let answer = hook::GetGroupMembersResponse {
            user_ids: vec!["u2".into(), "u1".into(), "u2".into()],
            next_cursor: "c".into(),
            version: "v".into(),
            not_modified: true,
            ..Default::default()
        };
        let want = MembersPage {
            members: answer.user_ids.clone(),
            next_cursor: "c".into(),
            version: "v".into(),
            not_modified: true,
        };
        assert_eq!(members_page(answer.encode_to_vec().into()).unwrap(), want);
    }

    #[test]
    fn offline_messages_keep_fields_nobody_here_knows() {
        let mut message = MessageRequest { msg_id: "m".into(), ..Default::default() }.encode_to_vec();
        message.extend([0xa2, 0x06, 0x01, b'x']); // field 100
        let page = RawOfflinePage {
            ok: true,
            messages: vec![message.clone().into()],
            next_cursor: "c".into(),
            has_more: true,
        };
        let got = offline_page(page.encode_to_vec().into()).unwrap();
        assert_eq!(got.messages, [Bytes::from(message)]);
        assert_eq!((got.ok, got.next_cursor.as_str(), got.has_more), (true, "c", true));
    }

    #[test]
    fn an_offline_message_that_is_none_spoils_the_page() {
        let page = RawOfflinePage { ok: true, messages: vec![Bytes::from_static(&[0xff])], ..Default::default() };
        assert_eq!(offline_page(page.encode_to_vec().into()).unwrap_err(), HookFailure::Decode);
    }

    #[test]
    fn garbage_is_a_decode_failure_for_every_hook() {
        let garbage = Bytes::from_static(b"\xff\xff<html>");
        assert_eq!(auth_answer(garbage.clone(), "").unwrap_err(), HookFailure::Decode);
        assert_eq!(check_answer(garbage.clone()).unwrap_err(), HookFailure::Decode);
        assert_eq!(members_page(garbage.clone()).unwrap_err(), HookFailure::Decode);
        assert_eq!(offline_page(garbage).unwrap_err(), HookFailure::Decode);
    }

    #[test]
    fn an_empty_body_means_defaults() {
        assert_eq!(check_answer(Bytes::new()).unwrap(), CheckAnswer { allow: false, reason: String::new() });
        assert_eq!(members_page(Bytes::new()).unwrap(), MembersPage::default());
        assert!(!offline_page(Bytes::new()).unwrap().ok);
    }
}
