//! Connections and budgets: the scripts and the order they run in.
//!
//! A tenant's limit and a node's list lie in other slots than the users. So a registration first takes a place and lists
//! itself, then registers, and takes both back when it was refused; what a crash leaves behind ends with its lease.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_redis::redis::{Value, from_redis_value};
use mics_domain::ports::{ConnectionLimits, DirectoryDown, Lease, Peer, Registered, Renewed, Route};

use super::exchange::{Exchange, Lane, Question, read};
use super::keys::{
    CHANGES, budget_key, hex, node_route, node_routes_key, place, places_key, read_route, route_value, sent_key,
    user_keys, user_news,
};

/// Users per look-up script; keeps one script short enough not to hold up others.
const USERS_PER_LOOKUP: usize = 128;
/// The same for scripts that write.
const LEASES_PER_SCRIPT: usize = 64;
/// Members per command that names one key.
const MEMBERS_PER_COMMAND: usize = 512;
/// Leases per round trip; what one deadline is enough for.
const LEASES_PER_TRIP: usize = 4096;
/// What has no lease of its own ends when nobody touched it for a day.
pub(super) const KEEP_MS: u64 = 24 * 60 * 60 * 1000;

const TAKE_PLACE: &str = include_str!("scripts/take_place.lua");
const HOLD_PLACES: &str = include_str!("scripts/hold_places.lua");
const REGISTER: &str = include_str!("scripts/register.lua");
const RENEW: &str = include_str!("scripts/renew.lua");
const UNREGISTER: &str = include_str!("scripts/unregister.lua");
const ROUTES: &str = include_str!("scripts/routes.lua");
const TAKE_BUDGET: &str = include_str!("scripts/take_budget.lua");

#[derive(Clone)]
pub(super) struct Entries {
    pub(super) exchange: Exchange,
    /// Whose list most removals are on; the rest is found out from what was removed.
    me: Arc<Mutex<Option<Peer>>>,
}

impl Entries {
    pub(super) fn new(exchange: Exchange) -> Self {
        Entries { exchange, me: Arc::default() }
    }

    pub(super) fn remember_me(&self, me: &Peer) {
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = Some(me.clone());
    }

    fn me(&self) -> Option<Peer> {
        self.me.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn per_script(&self, most: usize) -> usize {
        if self.exchange.is_cluster() { 1 } else { most }
    }

    pub(super) async fn register(
        &self,
        tenant: &str,
        user: &str,
        route: &Route,
        limits: ConnectionLimits,
    ) -> Result<Registered, DirectoryDown> {
        let place = place(user, &route.device, route.connection);
        let listed = node_route(tenant, user, &route.device, route.connection);
        let (list, lease) = (node_routes_key(&route.at), limits.lease_ms.max(1));
        let first = vec![
            Question::script(TAKE_PLACE, &[places_key(tenant)]).arg(&place).arg(lease).arg(limits.tenant),
            Question::command("SADD", &list).arg(&listed),
            Question::command("PEXPIRE", &list).arg(KEEP_MS),
        ];
        // Without the list a dead node's entry ends with its lease instead of at once.
        let taken = self.exchange.ask_all(Lane::Quick, first).await.into_iter().next();
        let (taken, count): (bool, u32) = read(taken.unwrap_or_else(|| Ok(Value::Nil))?)?;
        let give_place_back = |place: &str| Question::command("ZREM", &places_key(tenant)).arg(place);
        let unlist = || Question::command("SREM", &list).arg(&listed);
        // From the answer on all is best effort: it stands, and leases and renewals settle the count.
        let answer = self.register_device(tenant, user, route, limits, !taken).await?;
        let (answer, after) = match answer {
            DeviceAnswer::New => (Registered::New, Vec::new()),
            DeviceAnswer::Absent => (Registered::TenantFull { current: count }, vec![unlist()]),
            DeviceAnswer::Full(_) | DeviceAnswer::Newer => {
                let mut after = vec![unlist()];
                after.extend(taken.then(|| give_place_back(&place)));
                let answer = match answer {
                    DeviceAnswer::Full(current) => Registered::UserFull { current },
                    _ => Registered::Newer,
                };
                (answer, after)
            }
            DeviceAnswer::Replaced(earlier) => {
                let mut after = Vec::new();
                if earlier.connection != route.connection {
                    after.push(give_place_back(&self::place(user, &earlier.device, earlier.connection)));
                    let listed = node_route(tenant, user, &earlier.device, earlier.connection);
                    after.push(Question::command("SREM", &node_routes_key(&earlier.at)).arg(listed));
                }
                if !taken {
                    let unlimited = Question::script(TAKE_PLACE, &[places_key(tenant)]).arg(&place).arg(lease).arg(0);
                    after.push(unlimited);
                }
                (Registered::Replaced(earlier), after)
            }
        };
        self.exchange.ask_all(Lane::Quick, after).await;
        Ok(answer)
    }

    async fn register_device(
        &self,
        tenant: &str,
        user: &str,
        route: &Route,
        limits: ConnectionLimits,
        only_replace: bool,
    ) -> Result<DeviceAnswer, DirectoryDown> {
        let question = Question::script(REGISTER, &user_keys(tenant, user))
            .arg(&*route.device)
            .arg(route_value(route))
            .arg(hex(route.connection))
            .arg(limits.lease_ms.max(1))
            .arg(limits.user)
            .arg(u8::from(only_replace))
            .arg(CHANGES)
            .arg(user_news(tenant, user))
            .arg(if limits.again { route.online_at_ms.to_string() } else { String::new() });
        let answer: Vec<Value> = self.exchange.ask(question).await?;
        DeviceAnswer::read(answer, &route.device).ok_or_else(|| DirectoryDown("unreadable answer".into()))
    }

    pub(super) async fn unregister(&self, leases: &[Lease]) -> Result<(), DirectoryDown> {
        let me = self.me();
        for leases in leases.chunks(LEASES_PER_TRIP) {
            self.unregister_of(leases, me.as_ref()).await?;
        }
        Ok(())
    }

    /// Takes entries off that are listed under `listed_at`, if known, and off other nodes' lists as far as they were
    /// still there.
    pub(super) async fn unregister_of(&self, leases: &[Lease], listed_at: Option<&Peer>) -> Result<(), DirectoryDown> {
        let removals = leases.chunks(self.per_script(LEASES_PER_SCRIPT)).map(|chunk| {
            let keys: Vec<String> = chunk.iter().flat_map(|lease| user_keys(&lease.tenant, &lease.user)).collect();
            chunk.iter().fold(Question::script(UNREGISTER, &keys).arg(CHANGES), |question, lease| {
                question.arg(&*lease.device).arg(hex(lease.connection)).arg(user_news(&lease.tenant, &lease.user))
            })
        });
        let mut questions: Vec<Question> = removals.collect();
        let scripts = questions.len();
        // The place is this connection's own, whoever has the device now.
        questions.extend(by_tenant(leases, |key, places: &[&Lease]| {
            let places: Vec<String> = places.iter().map(|l| place(&l.user, &l.device, l.connection)).collect();
            Question::command("ZREM", key).arg(places)
        }));
        if let Some(at) = listed_at {
            let listed: Vec<String> = leases.iter().map(listed).collect();
            questions.extend(unlist(at, &listed));
        }
        let mut removed: Vec<String> = Vec::with_capacity(leases.len());
        for (n, answer) in self.exchange.ask_all(Lane::Batch, questions).await.into_iter().enumerate() {
            let answer = answer?;
            if n < scripts {
                removed.extend(read::<Vec<String>>(answer)?);
            }
        }
        self.unlist_elsewhere(leases, &removed, listed_at).await
    }

    async fn unlist_elsewhere(
        &self,
        leases: &[Lease],
        removed: &[String],
        done: Option<&Peer>,
    ) -> Result<(), DirectoryDown> {
        let mut elsewhere: HashMap<(Arc<str>, u64), (Peer, Vec<String>)> = HashMap::new();
        for (lease, value) in leases.iter().zip(removed) {
            let Some(Route { at, .. }) = read_route(&lease.device, value) else { continue };
            if done.is_none_or(|done| done.node != at.node || done.boot != at.boot) {
                let node = elsewhere.entry((at.node.clone(), at.boot)).or_insert_with(|| (at, Vec::new()));
                node.1.push(listed(lease));
            }
        }
        let questions = elsewhere.values().flat_map(|(at, listed)| unlist(at, listed)).collect();
        self.exchange.ask_all(Lane::Batch, questions).await.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// Takes members off a node's list.
    pub(super) async fn forget_routes(&self, at: &Peer, members: &[String]) -> Result<(), DirectoryDown> {
        let answers = self.exchange.ask_all(Lane::Batch, unlist(at, members).collect()).await;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    pub(super) async fn renew(&self, leases: &[Lease]) -> Result<Vec<Renewed>, DirectoryDown> {
        let mut renewed = Vec::with_capacity(leases.len());
        for leases in leases.chunks(LEASES_PER_TRIP) {
            renewed.extend(self.renew_trip(leases).await?);
        }
        Ok(renewed)
    }

    async fn renew_trip(&self, leases: &[Lease]) -> Result<Vec<Renewed>, DirectoryDown> {
        let stride = if self.exchange.is_cluster() { 2 } else { 3 };
        let keys_of = |lease: &Lease| {
            let [online, leases] = user_keys(&lease.tenant, &lease.user);
            [online, leases, places_key(&lease.tenant)].into_iter().take(stride)
        };
        let question = |chunk: &[Lease]| {
            let keys: Vec<String> = chunk.iter().flat_map(keys_of).collect();
            chunk.iter().fold(Question::script(RENEW, &keys).arg(stride), |question, l| {
                let place = place(&l.user, &l.device, l.connection);
                question.arg(&*l.device).arg(hex(l.connection)).arg(l.lease_ms.max(1)).arg(place)
            })
        };
        let questions = leases.chunks(self.per_script(LEASES_PER_SCRIPT)).map(question).collect();
        let mut codes: Vec<u8> = Vec::with_capacity(leases.len());
        for answer in self.exchange.ask_all(Lane::Batch, questions).await {
            codes.extend(read::<Vec<u8>>(answer?)?);
        }
        if codes.len() != leases.len() {
            return Err(DirectoryDown("unreadable answer".into()));
        }
        let renewed: Vec<Renewed> = codes
            .into_iter()
            .map(|code| match code {
                1 => Renewed::Ours,
                2 => Renewed::Taken,
                _ => Renewed::Absent,
            })
            .collect();
        if self.exchange.is_cluster() {
            self.hold_places(leases, &renewed).await?;
        }
        Ok(renewed)
    }

    /// Where one script may not touch both slots.
    async fn hold_places(&self, leases: &[Lease], renewed: &[Renewed]) -> Result<(), DirectoryDown> {
        let ours = leases.iter().zip(renewed).filter(|(_, renewed)| **renewed == Renewed::Ours).map(|(lease, _)| lease);
        let questions = by_tenant(ours, |key, places: &[&Lease]| {
            places.iter().fold(Question::script(HOLD_PLACES, &[key.to_owned()]), |question, l| {
                question.arg(place(&l.user, &l.device, l.connection)).arg(l.lease_ms.max(1))
            })
        });
        let answers = self.exchange.ask_all(Lane::Batch, questions).await;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    pub(super) async fn routes(&self, tenant: &str, users: &[Arc<str>]) -> Result<Vec<Vec<Route>>, DirectoryDown> {
        let questions = users.chunks(self.per_script(USERS_PER_LOOKUP)).map(|users| {
            let keys: Vec<String> = users.iter().flat_map(|user| user_keys(tenant, user)).collect();
            Question::script(ROUTES, &keys)
        });
        let mut found = Vec::with_capacity(users.len());
        for answer in self.exchange.ask_all(Lane::Quick, questions.collect()).await {
            let answer: Vec<Vec<String>> = read(answer?)?;
            found.extend(answer.iter().map(|pairs| routes_of(pairs)));
        }
        if found.len() == users.len() { Ok(found) } else { Err(DirectoryDown("unreadable answer".into())) }
    }

    pub(super) async fn take_budget(&self, tenant: &str, want: u32, max: u32) -> Result<u32, DirectoryDown> {
        self.exchange.ask(Question::script(TAKE_BUDGET, &[budget_key(tenant)]).arg(want).arg(max)).await
    }

    pub(super) async fn remember(
        &self,
        tenant: &str,
        key: u128,
        fingerprint: u64,
        ttl_ms: u64,
    ) -> Result<(), DirectoryDown> {
        let question = Question::command("SET", &sent_key(tenant, key)).arg(format!("{fingerprint:016x}"));
        self.exchange.ask(question.arg("PX").arg(ttl_ms.max(1))).await
    }

    pub(super) async fn claim(&self, tenant: &str, key: u128, ttl_ms: u64) -> Result<bool, DirectoryDown> {
        let question = Question::command("SET", &sent_key(tenant, key)).arg(format!("{:016x}", 0)).arg("NX");
        // `OK`, or nothing where there was a value.
        let set: Option<String> = self.exchange.ask(question.arg("PX").arg(ttl_ms.max(1))).await?;
        Ok(set.is_some())
    }

    pub(super) async fn recall(&self, tenant: &str, key: u128) -> Result<Option<u64>, DirectoryDown> {
        let found: Option<String> = self.exchange.ask(Question::command("GET", &sent_key(tenant, key))).await?;
        // What nobody can read was never sent.
        Ok(found.and_then(|fingerprint| u64::from_str_radix(&fingerprint, 16).ok()))
    }
}

/// `device, value, device, value, ..`; rubbish is skipped.
fn routes_of(pairs: &[String]) -> Vec<Route> {
    let read = |pair: &[String]| match pair {
        [device, value] => read_route(device, value),
        _ => None,
    };
    pairs.chunks(2).filter_map(read).collect()
}

fn listed(lease: &Lease) -> String {
    node_route(&lease.tenant, &lease.user, &lease.device, lease.connection)
}

fn unlist<'a>(at: &Peer, members: &'a [String]) -> impl Iterator<Item = Question> + use<'a> {
    let list = node_routes_key(at);
    members.chunks(MEMBERS_PER_COMMAND).map(move |members| Question::command("SREM", &list).arg(members))
}

/// One question per tenant and so many of its leases, given the key of the tenant's places.
fn by_tenant<'a>(
    leases: impl IntoIterator<Item = &'a Lease>,
    question: impl Fn(&str, &[&'a Lease]) -> Question,
) -> Vec<Question> {
    let mut tenants: HashMap<&str, Vec<&Lease>> = HashMap::new();
    leases.into_iter().for_each(|lease| tenants.entry(&lease.tenant).or_default().push(lease));
    let chunks = tenants.iter().flat_map(|(tenant, leases)| {
        let key = places_key(tenant);
        leases.chunks(MEMBERS_PER_COMMAND).map(|leases| question(&key, leases)).collect::<Vec<_>>()
    });
    chunks.collect()
}

/// What register.lua said.
enum DeviceAnswer {
    New,
    Replaced(Box<Route>),
    Full(u32),
    Newer,
    Absent,
}

impl DeviceAnswer {
    fn read(answer: Vec<Value>, device: &str) -> Option<Self> {
        let mut parts = answer.into_iter();
        let word: String = from_redis_value(parts.next()?).ok()?;
        match word.as_str() {
            "new" => Some(DeviceAnswer::New),
            "absent" => Some(DeviceAnswer::Absent),
            "newer" => Some(DeviceAnswer::Newer),
            "full" => Some(DeviceAnswer::Full(from_redis_value(parts.next()?).ok()?)),
            "replaced" => {
                let value: String = from_redis_value(parts.next()?).ok()?;
                // A value that nobody can read was nobody's connection.
                Some(read_route(device, &value).map_or(DeviceAnswer::New, |r| DeviceAnswer::Replaced(Box::new(r))))
            }
            _ => None,
        }
    }
}
