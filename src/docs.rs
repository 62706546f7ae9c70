//! Documentation that the binary prints about itself, so that it can't drift from the code.

use std::fmt::Write;

use mics_domain::codes::{CLOSE_CODES, FrameError, Refusal};

/// `docs/errors.md`: every code that a client can meet.
pub fn errors() -> String {
    let mut out = String::from(
        "# Codes and reasons\n\nPrinted by `mics errors`. Everything that a client can be told, and what it should do.\n\n\
         ## Close codes\n\n| code | reason text | when | what the client does |\n|---|---|---|---|\n",
    );
    for row in CLOSE_CODES {
        let _ = writeln!(out, "| {} | {} | {} | {} |", row.code, row.text, row.when, row.client);
    }
    out.push_str(
        "\nAny other code, or an end without one: reconnect, jittered. A client's own close is answered with its code.\n\n\
         ## Error frames\n\nThe connection stays open.\n\n",
    );
    out.push_str("| code | message | when |\n|---|---|---|\n");
    let when = [
        (FrameError::InvalidProtobuf, "a binary message that is no ClientFrame"),
        (FrameError::FrameTooLarge, "a message beyond MAX_MESSAGE_BYTES + 65536 bytes; it was passed over"),
    ];
    for (error, when) in when {
        let _ = writeln!(out, "| {} | {} | {when} |", error.code(), error.message());
    }
    out.push_str(
        "\n## Reasons of a FAILED ack\n\nA refusal by the tenant's hook carries the hook's reason verbatim.\n\n",
    );
    out.push_str("| reason | the same message may be sent again |\n|---|---|\n");
    for refusal in Refusal::ALL {
        let _ = writeln!(out, "| {} | {} |", refusal.reason(), if refusal.retryable() { "yes" } else { "no" });
    }
    for reason in ["hook degraded", "hook queue rejected", "hook circuit open", "canceled"] {
        let _ = writeln!(out, "| {reason} | yes |");
    }
    out.push_str("| hook sign required | no |\n\n");
    out.push_str("A SENT ack with reason `duplicate` answers a repetition of a sent message. A SENT ack of a group with `partial_delivery`\n");
    out.push_str(
        "and any other reason: some members have the message, the rest could not be learned, for this reason.\n\n",
    );
    out.push_str("## Refusals before the upgrade\n\n| status | when |\n|---|---|\n");
    out.push_str("| 400 | not a WebSocket handshake |\n| 404 | another path |\n");
    out.push_str("| 503 | draining, or MAX_CONNECTIONS or MAX_PENDING_HANDSHAKES reached (`retry-after` says when to come back) |\n");
    out.push_str("\n## The admin API\n\nAnswered as `{\"error\": {\"code\": .., \"message\": .., \"details\": [..]}}`; `details` only where there are several mistakes.\n\n");
    out.push_str("| code | status | when |\n|---|---|---|\n");
    for (_, name, status, when) in crate::admin::CODES {
        let _ = writeln!(out, "| `{name}` | {status} | {when} |");
    }
    out
}
