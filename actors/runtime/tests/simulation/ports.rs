//! The ports of one node: the shared in-memory ones, seen through the network.

use std::sync::{Arc, Weak};

use mics_domain::delivery::Delivery;
use mics_domain::ports::{
    Announced, ConnectionLimits, Directory, DirectoryDown, Lease, LinkError, LocalFuture, Peer, PeerAnswer, PeerCall,
    PeerLink, Registered, Renewed, Route, RouteWatcher,
};

use super::net::{Instance, Lost, Net};

pub struct Seen {
    pub net: Arc<Net>,
    pub by: Instance,
}

fn down(lost: Lost) -> DirectoryDown {
    DirectoryDown(format!("{lost:?}"))
}

impl Seen {
    fn ask<'a, T: 'static>(
        &'a self,
        op: &'static str,
        call: LocalFuture<'static, Result<T, DirectoryDown>>,
    ) -> LocalFuture<'a, Result<T, DirectoryDown>> {
        Box::pin(async move { self.net.to_directory(self.by, op, call).await.map_err(down)? })
    }
}

impl Directory for Seen {
    fn register<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        route: &'a Route,
        limits: ConnectionLimits,
    ) -> LocalFuture<'a, Result<Registered, DirectoryDown>> {
        let (net, tenant, user, route) = (self.net.clone(), tenant.to_owned(), user.to_owned(), route.clone());
        let call = async move { net.directory().register(&tenant, &user, &route, limits).await };
        self.ask("register", Box::pin(call))
    }

    fn unregister<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        let (net, leases) = (self.net.clone(), leases.to_vec());
        self.ask("unregister", Box::pin(async move { net.directory().unregister(&leases).await }))
    }

    fn renew<'a>(&'a self, leases: &'a [Lease]) -> LocalFuture<'a, Result<Vec<Renewed>, DirectoryDown>> {
        let (net, leases) = (self.net.clone(), leases.to_vec());
        self.ask("renew", Box::pin(async move { net.directory().renew(&leases).await }))
    }

    fn routes<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<Vec<Route>>, DirectoryDown>> {
        let (net, tenant, users) = (self.net.clone(), tenant.to_owned(), users.to_vec());
        self.ask("routes", Box::pin(async move { net.directory().routes(&tenant, &users).await }))
    }

    fn take_budget<'a>(&'a self, tenant: &'a str, want: u32, max: u32) -> LocalFuture<'a, Result<u32, DirectoryDown>> {
        let (net, tenant) = (self.net.clone(), tenant.to_owned());
        self.ask("take_budget", Box::pin(async move { net.directory().take_budget(&tenant, want, max).await }))
    }

    fn announce<'a>(&'a self, me: &'a Peer, ttl_ms: u64) -> LocalFuture<'a, Result<Announced, DirectoryDown>> {
        let (net, me) = (self.net.clone(), me.clone());
        let call = async move {
            let announced = net.directory().announce(&me, ttl_ms).await?;
            Ok(Announced { now_ms: net.now_ms(), ..announced })
        };
        self.ask("announce", Box::pin(call))
    }

    fn remember<'a>(
        &'a self,
        tenant: &'a str,
        key: u128,
        fingerprint: u64,
        ttl_ms: u64,
    ) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        let (net, tenant) = (self.net.clone(), tenant.to_owned());
        self.ask("remember", Box::pin(async move { net.directory().remember(&tenant, key, fingerprint, ttl_ms).await }))
    }

    fn recall<'a>(&'a self, tenant: &'a str, key: u128) -> LocalFuture<'a, Result<Option<u64>, DirectoryDown>> {
        let (net, tenant) = (self.net.clone(), tenant.to_owned());
        self.ask("recall", Box::pin(async move { net.directory().recall(&tenant, key).await }))
    }

    fn claim<'a>(&'a self, tenant: &'a str, key: u128, ttl_ms: u64) -> LocalFuture<'a, Result<bool, DirectoryDown>> {
        let (net, tenant) = (self.net.clone(), tenant.to_owned());
        self.ask("claim", Box::pin(async move { net.directory().claim(&tenant, key, ttl_ms).await }))
    }

    fn live(&self) -> LocalFuture<'_, Result<Vec<Peer>, DirectoryDown>> {
        let net = self.net.clone();
        self.ask("live", Box::pin(async move { net.directory().live().await }))
    }

    fn leave<'a>(&'a self, me: &'a Peer) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        let (net, me) = (self.net.clone(), me.clone());
        self.ask("leave", Box::pin(async move { net.directory().leave(&me).await }))
    }

    fn bury<'a>(&'a self, dead: &'a Peer, max: usize) -> LocalFuture<'a, Result<usize, DirectoryDown>> {
        let (net, dead) = (self.net.clone(), dead.clone());
        if net.burials_fail() {
            return Box::pin(async { Err(down(Lost::Unreachable)) });
        }
        self.ask("bury", Box::pin(async move { net.directory().bury(&dead, max).await }))
    }

    fn watch(&self, watcher: Weak<dyn RouteWatcher>) {
        self.net.watch(self.by, watcher);
    }
}

fn link_error(lost: Lost) -> LinkError {
    match lost {
        Lost::Unreachable => LinkError::Unavailable("simulated".into()),
        Lost::Late => LinkError::Deadline,
    }
}

fn op(call: &PeerCall) -> &'static str {
    match call {
        PeerCall::Place { .. } => "place",
        PeerCall::Lease { .. } => "lease",
        PeerCall::Settle { .. } => "settle",
        PeerCall::Nudge { .. } => "nudge",
        PeerCall::Replace { .. } => "replace",
        PeerCall::Kick { .. } => "kick",
        PeerCall::Report { .. } => "report",
    }
}

impl PeerLink for Seen {
    fn forward<'a>(
        &'a self,
        endpoint: &'a str,
        delivery: &'a Delivery,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<u32>, LinkError>> {
        let (net, to, delivery, users) = (self.net.clone(), endpoint.to_owned(), delivery.clone(), users.to_vec());
        let call = Box::pin(async move { net.link.forward(&to, &delivery, &users).await });
        Box::pin(async move { self.net.to_node(self.by, endpoint, "forward", call).await.map_err(link_error)? })
    }

    fn call<'a>(&'a self, endpoint: &'a str, call: PeerCall) -> LocalFuture<'a, Result<PeerAnswer, LinkError>> {
        let (net, to, op) = (self.net.clone(), endpoint.to_owned(), op(&call));
        let call = Box::pin(async move { net.link.call(&to, call).await });
        Box::pin(async move { self.net.to_node(self.by, endpoint, op, call).await.map_err(link_error)? })
    }
}
