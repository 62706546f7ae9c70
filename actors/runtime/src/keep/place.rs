//! Frames on their way to the nodes that keep them. It must not decide which nodes those are, nor what follows when one does
//! not answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;
use mics_domain::delivery::Kept;
use mics_domain::ports::{PeerAnswer, PeerCall};

use super::Item;
use crate::node::{Node, clock_ms};
use crate::tenant::Tenant;

/// Bytes of frames in one call to a peer, about.
const CALL_BYTES: usize = 4 << 20;

/// What became of frames that were to be placed, by their indexes.
#[derive(Default)]
pub(super) struct Placed {
    /// Once for each peer that took the frame.
    pub taken: Vec<usize>,
    /// With each peer that gave no answer about the frame.
    pub silent: Vec<(usize, Arc<str>)>,
}

impl Placed {
    pub fn silent_peers(&self) -> HashSet<Arc<str>> {
        self.silent.iter().map(|(_, endpoint)| endpoint.clone()).collect()
    }
}

/// Asks the peers at these endpoints, per frame, to keep them; all peers at once.
pub(super) async fn place(node: &Arc<Node>, tenant: &Tenant, items: &[Item], to: &[Vec<Arc<str>>]) -> Placed {
    let mut by_endpoint: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    for (index, endpoints) in to.iter().enumerate() {
        endpoints.iter().for_each(|endpoint| by_endpoint.entry(endpoint.clone()).or_default().push(index));
    }
    let peers = by_endpoint.into_iter().map(|(endpoint, indexes)| place_at(node, tenant, items, endpoint, indexes));
    let mut placed = Placed::default();
    for at in join_all(peers).await {
        placed.taken.extend(at.taken);
        placed.silent.extend(at.silent);
    }
    tenant.offline.count_placed(placed.taken.len());
    placed
}

async fn place_at(
    node: &Arc<Node>,
    tenant: &Tenant,
    items: &[Item],
    endpoint: Arc<str>,
    indexes: Vec<usize>,
) -> Placed {
    let mut placed = Placed::default();
    let mut calls = calls_of(items, indexes).into_iter();
    for indexes in calls.by_ref() {
        let now = clock_ms();
        let kept = indexes.iter().map(|index| to_peer(&items[*index], now)).collect();
        let call = PeerCall::Place { tenant: tenant.id.clone(), kept, view: node.members.digest() };
        let answer = node.router().call(&endpoint, call).await;
        if let Ok(PeerAnswer::Placed(taken)) = answer {
            placed.taken.extend(indexes.into_iter().zip(taken).filter(|(_, taken)| *taken).map(|(index, _)| index));
            continue;
        }
        match answer {
            // Tenants come to the nodes one after the other.
            Ok(PeerAnswer::NotServed) => {}
            Ok(_) => node.members.forget(&endpoint),
            Err(error) => {
                tenant.offline.not_placed(&error, indexes.len());
                // A node that leaves no longer hears who else has gone.
                if node.draining() {
                    node.members.forget(&endpoint);
                }
            }
        }
        placed.silent.extend(indexes.into_iter().map(|index| (index, endpoint.clone())));
        break;
    }
    placed.silent.extend(calls.flatten().map(|index| (index, endpoint.clone())));
    placed
}

/// Splits what goes to one peer into calls of a bearable size.
fn calls_of(items: &[Item], indexes: Vec<usize>) -> Vec<Vec<usize>> {
    let mut calls: Vec<Vec<usize>> = Vec::new();
    let mut bytes = usize::MAX;
    for index in indexes {
        let size = items[index].1.frame.len();
        match calls.last_mut() {
            Some(call) if bytes + size <= CALL_BYTES => {
                call.push(index);
                bytes += size;
            }
            _ => {
                calls.push(vec![index]);
                bytes = size;
            }
        }
    }
    calls
}

fn to_peer((user, entry): &Item, now_ms: u64) -> Kept {
    Kept {
        user: user.clone(),
        id: entry.id,
        frame: entry.frame.clone(),
        ttl_ms: entry.expires_at_ms.saturating_sub(now_ms),
        devices: entry.devices.clone(),
    }
}
