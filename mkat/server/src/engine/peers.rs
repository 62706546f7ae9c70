//! Pairing and unpairing: a peer, the service that stands for it, and the two monitors that it reports to.

use super::pause;
use crate::domain::{MonitorType, Severity, Timestamp, token};
use crate::error::{Code, Error, Result};
use crate::signals::Event;
use crate::store::Tx;
use crate::store::monitors::{self, MonitorSettings};
use crate::store::peers::{self, NewPeer, PeerRow};
use crate::store::services::{self, NewService};

/// Secrets that may be out at the same time.
const MAX_SECRETS: i64 = 20;
/// Rhythm of the webhook monitor; nothing waits for it.
const WEBHOOK: (i64, i64) = (300, 60);

/// The tokens with which a peer reports to us.
#[derive(Debug, Clone)]
pub struct IssuedTokens {
    pub heartbeat: String,
    pub webhook: String,
}

impl IssuedTokens {
    pub fn new() -> Self {
        Self { heartbeat: token::new_token(), webhook: token::new_token() }
    }
}

impl Default for IssuedTokens {
    fn default() -> Self {
        Self::new()
    }
}

/// What we expect of a peer.
#[derive(Debug, Clone)]
pub struct Watch {
    pub tokens: IssuedTokens,
    pub interval_seconds: i64,
    /// False: its heartbeats are not awaited, because it was not told where to send them.
    pub awaited: bool,
}

/// Hands out a secret for one pairing.
pub fn offer(tx: &Tx<'_>, secret: &str, expires_at: Timestamp) -> Result<()> {
    if peers::add_secret(tx, &token::sha256(secret), expires_at, tx.now, MAX_SECRETS)? {
        return Ok(());
    }
    let text =
        format!("{MAX_SECRETS} pairing tokens are waiting to be used; they end ten minutes after they were made");
    Err(Error::refused(Code::RateLimited, text))
}

/// Lets an instance pair that knows a secret of ours. A peer of the same address is replaced.
pub fn accept(tx: &Tx<'_>, secret: &str, new: &NewPeer, watch: &Watch) -> Result<PeerRow> {
    if !peers::take_secret(tx, &token::sha256(secret), tx.now)? {
        return Err(Error::refused(Code::InvalidSecret, "the secret is unknown, used or too old"));
    }
    pair(tx, new, watch)
}

/// Stores a peer with its service and monitors. A peer of the same address is replaced.
pub fn pair(tx: &Tx<'_>, new: &NewPeer, watch: &Watch) -> Result<PeerRow> {
    if let Some(old) = peers::of_url(tx, &new.url)? {
        remove(tx, &old)?;
    }
    let service = NewService {
        name: free_name(tx, &new.name)?,
        description: Some(format!("mkat at {}", new.url).chars().take(500).collect()),
        severity: Severity::High,
        managed_by: Some("peer"),
    };
    let service_id = services::insert(tx, &service, tx.now)?;
    let beat = MonitorSettings::timed(watch.interval_seconds, 2 * watch.interval_seconds);
    let beat = monitors::insert(tx, &service_id, MonitorType::Heartbeat, &beat, tx.now)?;
    monitors::set_token(tx, &beat.id, &watch.tokens.heartbeat, tx.now)?;
    if watch.awaited {
        pause::arm(tx, &beat)?;
    }
    let webhook = MonitorSettings::timed(WEBHOOK.0, WEBHOOK.1);
    let webhook = monitors::insert(tx, &service_id, MonitorType::Webhook, &webhook, tx.now)?;
    monitors::set_token(tx, &webhook.id, &watch.tokens.webhook, tx.now)?;
    let peer = peers::insert(tx, new, &service_id, tx.now)?;
    changed(tx, &service_id);
    Ok(peer)
}

/// Deletes a peer and its service with all that hangs on it.
pub fn remove(tx: &Tx<'_>, peer: &PeerRow) -> Result<()> {
    peers::delete(tx, &peer.id)?;
    services::delete(tx, &peer.service_id)?;
    changed(tx, &peer.service_id);
    Ok(())
}

/// The other side unpairs. It shows the heartbeat token that we issued to it; a peer that cannot know one (one-way, an
/// older program) is found by its address alone.
pub fn unpaired_by_remote(tx: &Tx<'_>, url: &str, shown: Option<&str>) -> Result<()> {
    let by_token = match shown {
        Some(text) => monitors::find_by_token(tx, text)?.filter(|monitor| monitor.kind == MonitorType::Heartbeat),
        None => None,
    };
    let peer = match by_token {
        Some(monitor) => peers::of_service(tx, &monitor.service_id)?,
        None => peers::of_url(tx, url)?.filter(|peer| !peer.two_way),
    };
    // The same answer for an unknown address and a wrong token: strangers learn nothing about who is paired.
    let peer =
        peer.ok_or_else(|| Error::refused(Code::PeerNotFound, "there is no such peer, or not with this token"))?;
    remove(tx, &peer)
}

/// `Peer: {name}`, with a number behind it if the name is taken.
fn free_name(tx: &Tx<'_>, name: &str) -> Result<String> {
    let name: String = name.trim().chars().take(80).collect();
    let plain = format!("Peer: {name}");
    let candidates = std::iter::once(plain.clone()).chain((2..1000).map(|n| format!("{plain} ({n})")));
    for candidate in candidates {
        if services::find_by_name(tx, &candidate)?.is_none() {
            return Ok(candidate);
        }
    }
    Err(Error::refused(Code::ServiceNameTaken, "too many services have this name"))
}

fn changed(tx: &Tx<'_>, service_id: &str) {
    tx.emit(Event::PeersChanged);
    tx.emit(Event::ServiceChanged { service_id: service_id.into() });
}
