//! Promises about what watchers hear.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use mics_domain::ports::{Directory, RouteWatcher};

use super::{fresh_tenant, limits, peer, route, unregister, until};

pub(super) async fn run_all<D, F, Fut>(make: &F)
where
    D: Directory,
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<D>>,
{
    changes_are_heard(&*make().await).await;
}

#[derive(Default)]
struct Ear {
    users: Mutex<Vec<(String, String)>>,
    nodes: AtomicU32,
    live: AtomicBool,
}

impl RouteWatcher for Ear {
    fn changed(&self, tenant: &str, user: &str) {
        self.users.lock().expect("no panic").push((tenant.to_owned(), user.to_owned()));
    }

    fn nodes_changed(&self) {
        self.nodes.fetch_add(1, Ordering::SeqCst);
    }

    fn watching(&self, live: bool) {
        self.live.store(live, Ordering::SeqCst);
    }
}

impl Ear {
    fn heard(&self, tenant: &str, user: &str) -> bool {
        self.users.lock().expect("no panic").iter().any(|(t, u)| t == tenant && u == user)
    }

    /// Waits until this user's change was heard, and forgets all that was heard so far.
    async fn hears(&self, tenant: &str, user: &str) {
        until("news of a user", || async { self.heard(tenant, user) }).await;
        self.users.lock().expect("no panic").clear();
    }
}

async fn changes_are_heard(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let ear = Arc::new(Ear::default());
    let watcher: Weak<dyn RouteWatcher> = Arc::<Ear>::downgrade(&ear);
    directory.watch(watcher);
    until("watching", || async { ear.live.load(Ordering::SeqCst) }).await;
    let odd = "a|b:{c}%";
    directory.register(&tenant, odd, &route("d", "n1", 1), limits(0, 1)).await.expect("register");
    ear.hears(&tenant, odd).await;
    // The same connection and a refusal are no news; the next change shows that nothing is still under way.
    directory.register(&tenant, odd, &route("d", "n1", 1), limits(0, 1)).await.expect("register");
    directory.register(&tenant, odd, &route("e", "n1", 2), limits(0, 1)).await.expect("register");
    unregister(directory, &tenant, odd, "d", 77).await;
    directory.register(&tenant, "bob", &route("d", "n1", 3), limits(0, 0)).await.expect("register");
    until("news of bob", || async { ear.heard(&tenant, "bob") }).await;
    assert!(!ear.heard(&tenant, odd), "nothing of this user changed");
    directory.register(&tenant, odd, &route("d", "n2", 4), limits(0, 1)).await.expect("register");
    ear.hears(&tenant, odd).await;
    unregister(directory, &tenant, odd, "d", 4).await;
    ear.hears(&tenant, odd).await;

    let me = peer(&fresh_tenant(), 1);
    let nodes = || ear.nodes.load(Ordering::SeqCst);
    let before = nodes();
    directory.announce(&me, 600_000).await.expect("announce");
    until("news of a node that came", || async { nodes() > before }).await;
    let before = nodes();
    directory.leave(&me).await.expect("leave");
    until("news of a node that left", || async { nodes() > before }).await;
}
