//! All tenants that the operator configured, which may change while the node runs. Looking one up takes no lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use mics_domain::codes::Close;

use super::Tenant;
use crate::keep;
use crate::node::Node;
use crate::settings::TenantSettings;

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
    /// Removed ones: their sessions end, what is kept for their users runs out. One that comes back is itself again.
    retired: Mutex<ById>,
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

    /// In order.
    pub fn ids(&self) -> Vec<Arc<str>> {
        let mut ids: Vec<Arc<str>> = self.serving.load().values().map(|tenant| tenant.id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// False once it was removed.
    pub fn serves(&self, tenant: &Tenant) -> bool {
        self.serving.load().contains_key(&*tenant.id)
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
                    let back = retired.remove(id).inspect(|tenant| tenant.change(settings.clone(), 0));
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
            retired.insert(tenant.id.to_string(), tenant.clone());
            close_all(node, tenant);
        }
        changes
    }
}

/// Asks the sessions of a removed tenant to go, a few at a time, until none is left or the tenant has come back.
fn close_all(node: &Arc<Node>, tenant: Arc<Tenant>) {
    let (control, node) = (node.control(), node.clone());
    let close = async move {
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
    };
    control.spawn_fn(move || drop(actix_rt::spawn(close)));
}
