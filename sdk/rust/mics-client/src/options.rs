//! What the application chooses: where to connect, as whom, and with which limits. Only data and its checks.

use crate::crypto::MessageCrypto;
use crate::error::MicsError;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Error type of a token provider.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
type TokenFuture = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// Gives the token for each attempt to connect, so that a reconnect never presents an expired one.
#[derive(Clone)]
pub struct TokenProvider(Arc<dyn Fn() -> TokenFuture + Send + Sync>);

impl TokenProvider {
    /// The same token for ever.
    pub fn fixed(token: impl Into<String>) -> Self {
        let token = token.into();
        Self::from_fn(move || std::future::ready(Ok(token.clone())))
    }

    /// Asks `make` before every attempt to connect. An error counts as a failed attempt.
    pub fn from_fn<F, R>(make: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(make())))
    }

    pub(crate) async fn token(&self) -> Result<String, MicsError> {
        (self.0)().await.map_err(|e| MicsError::Token(e.to_string()))
    }
}

impl From<&str> for TokenProvider {
    fn from(token: &str) -> Self {
        Self::fixed(token)
    }
}

impl From<String> for TokenProvider {
    fn from(token: String) -> Self {
        Self::fixed(token)
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProvider(..)")
    }
}

/// Where to connect and as whom. `url` is the gateway's `ws://` or `wss://` address; its other query parameters are
/// kept, `tenantId`, `token` and `deviceId` are replaced.
#[derive(Debug, Clone)]
pub struct ConnectParams {
    pub url: String,
    pub tenant_id: String,
    pub token: TokenProvider,
    pub device_id: String,
}

/// Limits and times. `..Default::default()` gives the values named at each field.
#[derive(Clone)]
pub struct MicsClientOptions {
    /// From the first packet to `connect_ack`. 5 s.
    pub connect_timeout: Duration,
    /// Wait for an ack before the message is sent again under the same id. 3 s.
    pub ack_timeout: Duration,
    /// Times a message is sent before the local ack FAILED `ack timeout`. 3.
    pub max_send_attempts: u32,
    /// From the call to the outcome of a send, time spent reconnecting included. 30 s.
    pub send_deadline: Duration,
    /// Interval of `heartbeat_ping`; zero switches heartbeat and pong watchdog off. 10 s.
    pub heartbeat_interval: Duration,
    /// The connection is given up after two heartbeat intervals plus this without any frame. 2 s.
    pub watchdog_slack: Duration,
    /// Come back after a lost connection, unless the close code forbids it. true.
    pub auto_reconnect: bool,
    /// Upper end of the first random pause before a reconnect; doubles with every attempt. 200 ms.
    pub reconnect_min_delay: Duration,
    /// Upper end of every such pause. 5 s.
    pub reconnect_max_delay: Duration,
    /// First pause after 4429; doubles up to twelve times its length. 5 s.
    pub limited_delay: Duration,
    /// Messages waiting between the application and the connection. 256.
    pub send_queue_capacity: usize,
    /// Messages taken up and not yet acked; further ones wait in the queue. 256.
    pub max_in_flight: usize,
    /// Events not yet read by the application; above it deliveries are dropped and reported as `Overflow`. 1024.
    pub event_capacity: usize,
    /// Deliveries remembered in order to drop repeated ones; 0 switches it off. 1024.
    pub dedup_window: usize,
    /// Largest frame accepted from the gateway, in bytes. 16 MiB.
    pub max_frame_bytes: usize,
    /// Local address to connect from, for hosts with several; none by default.
    pub local_address: Option<IpAddr>,
    /// How `wss` is spoken, e.g. with an authority of your own; by default with the public authorities of the web.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// End-to-end encryption of bodies; none by default.
    pub message_crypto: Option<Arc<dyn MessageCrypto>>,
}

impl Default for MicsClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(3),
            max_send_attempts: 3,
            send_deadline: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(10),
            watchdog_slack: Duration::from_secs(2),
            auto_reconnect: true,
            reconnect_min_delay: Duration::from_millis(200),
            reconnect_max_delay: Duration::from_secs(5),
            limited_delay: Duration::from_secs(5),
            send_queue_capacity: 256,
            max_in_flight: 256,
            event_capacity: 1024,
            dedup_window: 1024,
            max_frame_bytes: 16 << 20,
            local_address: None,
            tls: None,
            message_crypto: None,
        }
    }
}

impl MicsClientOptions {
    pub(crate) fn check(&self) -> Result<(), MicsError> {
        let positive = [
            (self.connect_timeout.is_zero(), "connect_timeout must be above zero"),
            (self.ack_timeout.is_zero(), "ack_timeout must be above zero"),
            (self.send_deadline.is_zero(), "send_deadline must be above zero"),
            (self.max_send_attempts == 0, "max_send_attempts must be above zero"),
            (self.send_queue_capacity == 0, "send_queue_capacity must be above zero"),
            (self.max_in_flight == 0, "max_in_flight must be above zero"),
            (self.event_capacity == 0, "event_capacity must be above zero"),
        ];
        match positive.into_iter().find(|(bad, _)| *bad) {
            Some((_, text)) => Err(MicsError::InvalidArgument(text)),
            None => Ok(()),
        }
    }
}
