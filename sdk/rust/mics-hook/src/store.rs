//! Where offline messages are kept: the seam between the SDK and your database.

use std::future::Future;

use mics_proto::hook::{GetOfflineMessagesRequest, GetOfflineMessagesResponse, MqEvent};

use crate::BoxError;

/// Keeps OFFLINE_MESSAGE events and gives them back to the user's devices.
///
/// An implementation must take the same event twice without keeping it twice (sender, `msg_id` and `to_user_id` name it),
/// give messages byte for byte as in `event_data`, oldest first, and not forget them because it gave them: an answer can
/// come too late for the gateway.
pub trait OfflineStore: Send + Sync + 'static {
    /// Keeps one event for `to_user_id`; false when it was there already.
    fn keep(&self, event: &MqEvent) -> impl Future<Output = Result<bool, BoxError>> + Send;

    /// One page for a device. `now_ms` is Unix time.
    fn page(
        &self,
        request: &GetOfflineMessagesRequest,
        now_ms: i64,
    ) -> impl Future<Output = Result<GetOfflineMessagesResponse, BoxError>> + Send;
}
