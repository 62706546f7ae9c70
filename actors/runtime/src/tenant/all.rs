//! All tenants that the operator configured, which may change while the node runs. Looking one up takes no lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use mics_domain::codes::Close;

use super::Tenant;
use crate::keep;
use crate::node::{Node, clock_ms};
use crate::settings::{DEDUP_WINDOW, TenantSettings};

/// How long a secret that was replaced is still accepted from callers.
pub const SECRET_OVERLAP: Duration = Duration::from_secs(600);
/// Sessions of a removed tenant that are closed at a time.
const CLOSE_BATCH: usize = 50;
const CLOSE_PAUSE: Duration = Duration::from_millis(50);

type ById = HashMap<String, Arc<Tenant>>;

/// What a change did to one tenant. No values: some are secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantChange {
    Added(String),
    Removed(String),
    /// With the names of the settings that differ now.
    Changed(String, Vec<&'static str>),
}

#[derive(Default)]
pub struct Tenants {
    serving: ArcSwap<ById>,
    /// Removed ones: their sessions end, what is kept for their users runs out. One that comes back before it was
    /// forgotten is itself again.
    retired: Mutex<HashMap<String, Retired>>,
}

struct Retired {
    tenant: Arc<Tenant>,
    /// `clock_ms`.
    at_ms: u64,
}

impl Tenants {
    pub(crate) fn new(node: &Weak<Node>, parts: &Node) -> Self {
        let tenants = parts.settings.tenants.iter();
        let serving: ById =
            tenants.map(|(id, s)| (id.clone(), Tenant::new(id, s.clone(), node.clone(), parts))).collect();
        Tenants { serving: ArcSwap::from_pointee(serving), retired: Mutex::default() }
    }

    pub fn get(&self, id: &str) -> Option<Arc<Tenant>> {
        self.serving.load().get(id).cloned()
    }

    /// As of now.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Tenant>> {
        self.serving.load().values().cloned().collect::<Vec<_>>().into_iter()
    }

    /// Those too that were removed and may still keep frames.
    pub(crate) fn with_retired(&self) -> Vec<Arc<Tenant>> {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        self.serving.load().values().chain(retired.values().map(|retired| &retired.tenant)).cloned().collect()
    }

    /// In order.
    pub fn ids(&self) -> Vec<Arc<str>> {
        let mut ids: Vec<Arc<str>> = self.serving.load().values().map(|tenant| tenant.id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// False once it was removed.
    pub fn serves(&self, tenant: &Tenant) -> bool {
        self.serving.load().get(&*tenant.id).is_some_and(|serving| std::ptr::eq(&**serving, tenant))
    }

    /// Takes these over: new ones are served, changed ones go on with their new settings, and removed ones are served no
    /// more. Their sessions are closed (4002) when they have sent what they had to, in the background.
    pub(crate) fn replace(&self, node: &Arc<Node>, wanted: &BTreeMap<String, TenantSettings>) -> Vec<TenantChange> {
        // Held to the end: one change at a time.
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.serving.load_full();
        let (mut serving, mut changes, mut returned) = (ById::new(), Vec::new(), Vec::new());
        let overlap_ms = SECRET_OVERLAP.as_millis() as u64;
        for (id, settings) in wanted {
            let tenant = match before.get(id) {
                Some(tenant) => {
                    let fields = tenant.settings().differences(settings);
                    if !fields.is_empty() {
                        tenant.change(settings.clone(), overlap_ms);
                        changes.push(TenantChange::Changed(id.clone(), fields));
                    }
                    tenant.clone()
                }
                None => {
                    changes.push(TenantChange::Added(id.clone()));
                    let back = retired.remove(id).map(|retired| retired.tenant);
                    let back = back.inspect(|tenant| tenant.change(settings.clone(), 0));
                    returned.extend(back.clone());
                    back.unwrap_or_else(|| Tenant::new(id, settings.clone(), Arc::downgrade(node), node))
                }
            };
            serving.insert(id.clone(), tenant);
        }
        let removed: Vec<Arc<Tenant>> =
            before.iter().filter(|(id, _)| !wanted.contains_key(*id)).map(|(_, tenant)| tenant.clone()).collect();
        self.serving.store(Arc::new(serving));
        for tenant in returned {
            // The homes of what it keeps may have changed while nobody looked.
            keep::doubt(node, &tenant, tenant.offline.users());
        }
        for tenant in removed {
            changes.push(TenantChange::Removed(tenant.id.to_string()));
            let at_ms = clock_ms();
            retired.insert(tenant.id.to_string(), Retired { tenant: tenant.clone(), at_ms });
            let (leaving, weak) = (close_all(node.clone(), tenant.clone()), Arc::downgrade(node));
            node.control().spawn_fn(move || {
                actix_rt::spawn(async move {
                    leaving.await;
                    forget(weak, tenant, at_ms).await;
                });
            });
        }
        changes
    }

    /// Frees a tenant that was removed at that time, unless somebody is still here or something still kept. True when
    /// there is nothing more to wait for.
    fn try_forget(&self, node: &Node, tenant: &Tenant, at_ms: u64) -> bool {
        // Held to the end: it does not come back meanwhile.
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        if retired.get(&*tenant.id).is_none_or(|retired| retired.at_ms != at_ms) {
            return true;
        }
        if tenant.sessions.count() > 0 || !tenant.offline.is_empty() {
            return false;
        }
        retired.remove(&*tenant.id);
        // Its actors are of this thread and see nothing else before.
        tenant.stop();
        node.forget_tenant(&tenant.id);
        true
    }
}

/// Waits until resends to a removed tenant would not be known any more and nothing is kept for its users, and frees it.
async fn forget(node: Weak<Node>, tenant: Arc<Tenant>, at_ms: u64) {
    loop {
        tokio::time::sleep(DEDUP_WINDOW).await;
        let Some(node) = node.upgrade() else { return };
        if node.tenants().try_forget(&node, &tenant, at_ms) {
            return;
        }
    }
}

/// Asks the sessions of a removed tenant to go, a few at a time, until none is left or the tenant has come back.
async fn close_all(node: Arc<Node>, tenant: Arc<Tenant>) {
    loop {
        let sessions = tenant.sessions.all();
        if sessions.is_empty() {
            break;
        }
        for batch in sessions.chunks(CLOSE_BATCH) {
            if node.tenants().serves(&tenant) {
                return;
            }
            batch.iter().for_each(|session| session.close(Close::InvalidTenant));
            tokio::time::sleep(CLOSE_PAUSE).await;
        }
    }
    tracing::info!(tenant = %tenant.id, "removed_tenant_closed");
}
