//! Hook policy: which knobs apply to a call, how a failed call is named, whether it counts, and what the gateway does
//! instead. Tables only; the calls are made elsewhere.

use crate::breaker::BreakerPolicy;

const MAX_QUEUE_TIMEOUT_MS: i32 = 10_000;
const MAX_BREAKER_THRESHOLD: i32 = 100;
const MAX_BREAKER_OPEN_MS: i32 = 60_000;

/// The four questions a tenant's back end is asked. Limiter and breaker are per (tenant, operation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookOp {
    Auth,
    CheckMessage,
    GetGroupMembers,
    GetOfflineMessages,
}

impl HookOp {
    pub const ALL: [HookOp; 4] =
        [HookOp::Auth, HookOp::CheckMessage, HookOp::GetGroupMembers, HookOp::GetOfflineMessages];

    /// The metric label `op`.
    pub fn label(self) -> &'static str {
        match self {
            HookOp::Auth => "Auth",
            HookOp::CheckMessage => "CheckMessage",
            HookOp::GetGroupMembers => "GetGroupMembers",
            HookOp::GetOfflineMessages => "GetOfflineMessages",
        }
    }
}

/// The process's own defaults (the HOOK_* variables, already clamped).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookDefaults {
    pub max_concurrency: u32,
    pub queue_timeout_ms: u64,
    pub breaker_failure_threshold: u32,
    pub breaker_open_ms: u64,
    pub sign_required: bool,
}

impl Default for HookDefaults {
    fn default() -> Self {
        HookDefaults {
            max_concurrency: 32,
            queue_timeout_ms: 10,
            breaker_failure_threshold: 5,
            breaker_open_ms: 5000,
            sign_required: false,
        }
    }
}

/// The optional fields 8..12 of the tenant's config, as received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HookOverrides {
    pub max_concurrency: Option<i32>,
    pub queue_timeout_ms: Option<i32>,
    pub breaker_failure_threshold: Option<i32>,
    pub breaker_open_ms: Option<i32>,
    pub sign_required: Option<bool>,
}

/// What applies to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookPolicy {
    pub max_concurrency: u32,
    /// 0 = do not wait for a permit.
    pub queue_timeout_ms: u64,
    pub breaker: BreakerPolicy,
    pub sign_required: bool,
}

/// The tenant's config over the operator's per-tenant concurrency over the process's defaults. A concurrency or
/// threshold that is not positive is ignored, a negative time is 0, larger values are cut to the allowed range.
pub fn resolve(defaults: HookDefaults, tenant_max_concurrency: Option<i32>, overrides: &HookOverrides) -> HookPolicy {
    let positive = |v: Option<i32>| v.filter(|v| *v > 0).map(i32::unsigned_abs);
    let time = |v: Option<i32>, max: i32| v.map(|v| u64::from(v.clamp(0, max).unsigned_abs()));
    HookPolicy {
        max_concurrency: positive(overrides.max_concurrency)
            .or(positive(tenant_max_concurrency))
            .unwrap_or(defaults.max_concurrency),
        queue_timeout_ms: time(overrides.queue_timeout_ms, MAX_QUEUE_TIMEOUT_MS).unwrap_or(defaults.queue_timeout_ms),
        breaker: BreakerPolicy {
            failure_threshold: positive(overrides.breaker_failure_threshold.map(|v| v.min(MAX_BREAKER_THRESHOLD)))
                .unwrap_or(defaults.breaker_failure_threshold),
            open_ms: time(overrides.breaker_open_ms, MAX_BREAKER_OPEN_MS).unwrap_or(defaults.breaker_open_ms),
        },
        sign_required: overrides.sign_required.unwrap_or(defaults.sign_required),
    }
}

/// Why a hook gave no answer. An explicit "no" from the hook is an answer and not among these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookFailure {
    /// No permit within the queue time-out.
    QueueRejected,
    Timeout,
    /// The client connection went away.
    Canceled,
    Http4xx,
    Http5xx,
    HttpOther,
    Network,
    Decode,
    CircuitOpen,
    /// A signature is demanded and there is no secret.
    SignRequired,
}

impl HookFailure {
    pub const ALL: [HookFailure; 10] = [
        HookFailure::QueueRejected,
        HookFailure::Timeout,
        HookFailure::Canceled,
        HookFailure::Http4xx,
        HookFailure::Http5xx,
        HookFailure::HttpOther,
        HookFailure::Network,
        HookFailure::Decode,
        HookFailure::CircuitOpen,
        HookFailure::SignRequired,
    ];

    /// The metric label `result`.
    pub fn label(self) -> &'static str {
        match self {
            HookFailure::QueueRejected => "queue_rejected",
            HookFailure::Timeout => "timeout",
            HookFailure::Canceled => "canceled",
            HookFailure::Http4xx => "http_4xx",
            HookFailure::Http5xx => "http_5xx",
            HookFailure::HttpOther => "http_other",
            HookFailure::Network => "network_error",
            HookFailure::Decode => "decode_error",
            HookFailure::CircuitOpen => "circuit_open",
            HookFailure::SignRequired => "sign_required",
        }
    }

    /// True for failures of the hook itself. A missing secret is ours, and must never open the breaker: an open
    /// breaker lets unchecked messages pass.
    pub fn counts_for_breaker(self) -> bool {
        match self {
            HookFailure::Timeout
            | HookFailure::Http4xx
            | HookFailure::Http5xx
            | HookFailure::HttpOther
            | HookFailure::Network
            | HookFailure::Decode => true,
            HookFailure::QueueRejected
            | HookFailure::Canceled
            | HookFailure::CircuitOpen
            | HookFailure::SignRequired => false,
        }
    }
}

/// What becomes of a message whose check got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it pass unchecked, counted as degraded.
    AllowDegraded,
    /// Refuse it; the text is the ack's reason.
    Deny(&'static str),
}

/// The close reason (code 4001) when /auth gave no answer.
pub fn auth_reason(failure: &HookFailure) -> &'static str {
    match failure {
        HookFailure::QueueRejected => "hook queue rejected",
        HookFailure::Canceled => "canceled",
        HookFailure::CircuitOpen => "auth hook circuit open",
        HookFailure::SignRequired => "auth hook sign required",
        _ => "hook timeout/failure",
    }
}

/// Without an answer a message passes, unless the tenant chose `deny_when_degraded`; without a demanded signature
/// it never does.
pub fn check_verdict(failure: &HookFailure, deny_when_degraded: bool) -> Verdict {
    if *failure == HookFailure::SignRequired || deny_when_degraded {
        Verdict::Deny(members_reason(failure))
    } else {
        Verdict::AllowDegraded
    }
}

/// The FAILED ack's reason when the members of a group could not be had.
pub fn members_reason(failure: &HookFailure) -> &'static str {
    match failure {
        HookFailure::QueueRejected => "hook queue rejected",
        HookFailure::Canceled => "canceled",
        HookFailure::CircuitOpen => "hook circuit open",
        HookFailure::SignRequired => "hook sign required",
        _ => "hook degraded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_overrides_the_defaults_apply() {
        let policy = resolve(HookDefaults::default(), None, &HookOverrides::default());
        let breaker = BreakerPolicy { failure_threshold: 5, open_ms: 5000 };
        assert_eq!(policy, HookPolicy { max_concurrency: 32, queue_timeout_ms: 10, breaker, sign_required: false });
    }

    #[test]
    fn concurrency_comes_from_the_session_then_the_operator_then_the_default() {
        let cases = [
            (None, None, 32),
            (Some(7), None, 7),
            (Some(0), None, 32),
            (Some(-1), None, 32),
            (Some(7), Some(16), 16),
            (Some(7), Some(0), 7),
            (Some(7), Some(-3), 7),
            (None, Some(i32::MAX), 2_147_483_647),
        ];
        for (tenant, session, want) in cases {
            let overrides = HookOverrides { max_concurrency: session, ..Default::default() };
            assert_eq!(resolve(HookDefaults::default(), tenant, &overrides).max_concurrency, want);
        }
    }

    #[test]
    fn overrides_are_clamped_as_the_contract_says() {
        let cases = [
            // (value given to all three, queue time-out, threshold, open time)
            (None, 10, 5, 5000),
            (Some(0), 0, 5, 0),
            (Some(-5), 0, 5, 0),
            (Some(1), 1, 1, 1),
            (Some(250), 250, 100, 250),
            (Some(i32::MAX), 10_000, 100, 60_000),
            (Some(i32::MIN), 0, 5, 0),
        ];
        for (given, queue_timeout_ms, failure_threshold, open_ms) in cases {
            let overrides = HookOverrides {
                queue_timeout_ms: given,
                breaker_failure_threshold: given,
                breaker_open_ms: given,
                ..Default::default()
            };
            let got = resolve(HookDefaults::default(), None, &overrides);
            assert_eq!(got.queue_timeout_ms, queue_timeout_ms, "{given:?}");
            assert_eq!(got.breaker, BreakerPolicy { failure_threshold, open_ms }, "{given:?}");
        }
    }

    #[test]
    fn an_explicit_false_overrides_sign_required() {
        let defaults = HookDefaults { sign_required: true, ..Default::default() };
        for (given, want) in [(None, true), (Some(false), false), (Some(true), true)] {
            let overrides = HookOverrides { sign_required: given, ..Default::default() };
            assert_eq!(resolve(defaults, None, &overrides).sign_required, want);
        }
    }

    #[test]
    fn failures_degrade_as_the_contract_says() {
        use HookFailure::*;
        use Verdict::*;
        let plain = ("hook timeout/failure", AllowDegraded, "hook degraded");
        let cases = [
            (QueueRejected, "queue_rejected", false, ("hook queue rejected", AllowDegraded, "hook queue rejected")),
            (Timeout, "timeout", true, plain),
            (Canceled, "canceled", false, ("canceled", AllowDegraded, "canceled")),
            (Http4xx, "http_4xx", true, plain),
            (Http5xx, "http_5xx", true, plain),
            (HttpOther, "http_other", true, plain),
            (Network, "network_error", true, plain),
            (Decode, "decode_error", true, plain),
            (CircuitOpen, "circuit_open", false, ("auth hook circuit open", AllowDegraded, "hook circuit open")),
            (
                SignRequired,
                "sign_required",
                false,
                ("auth hook sign required", Deny("hook sign required"), "hook sign required"),
            ),
        ];
        assert_eq!(cases.map(|case| case.0), HookFailure::ALL);
        for (failure, label, counts, (auth, check, members)) in cases {
            assert_eq!((failure.label(), failure.counts_for_breaker()), (label, counts));
            assert_eq!(auth_reason(&failure), auth);
            assert_eq!(check_verdict(&failure, false), check);
            assert_eq!(check_verdict(&failure, true), Deny(members));
            assert_eq!(members_reason(&failure), members);
        }
    }

    #[test]
    fn operations_are_labelled_as_in_the_contract() {
        let labels = HookOp::ALL.map(HookOp::label);
        assert_eq!(labels, ["Auth", "CheckMessage", "GetGroupMembers", "GetOfflineMessages"]);
    }
}
