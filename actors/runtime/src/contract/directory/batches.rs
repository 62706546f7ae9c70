//! Promises about many leases at once, and about the budget of a second.

use std::future::Future;
use std::sync::Arc;

use mics_domain::ports::{Directory, Lease, Registered, Renewed};
use tokio::time::{Duration, sleep};

use super::{fresh_tenant, lease, limits, peer, renew, route, routes_of};

pub(super) async fn run_all<D, F, Fut>(make: &F)
where
    D: Directory,
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<D>>,
{
    a_batch_answers_each_lease_in_the_order_asked(&*make().await).await;
    a_batch_removes_only_its_own_and_frees_places(&*make().await).await;
    large_batches_are_complete(&*make().await).await;
    a_second_has_one_budget_for_all(&*make().await).await;
}

async fn a_batch_answers_each_lease_in_the_order_asked(directory: &impl Directory) {
    let (tenant, other) = (fresh_tenant(), fresh_tenant());
    directory.register(&tenant, "a", &route("d", "n1", 1), limits(0, 0)).await.expect("register");
    directory.register(&tenant, "b", &route("d", "n1", 2), limits(0, 0)).await.expect("register");
    directory.register(&tenant, "b", &route("d", "n2", 3), limits(0, 0)).await.expect("register");
    directory.register(&other, "a", &route("d", "n1", 4), limits(0, 0)).await.expect("register");
    let leases = [
        lease(&tenant, "nobody", "d", 9),
        lease(&tenant, "b", "d", 2),
        lease(&tenant, "a", "d", 1),
        lease(&other, "a", "d", 4),
        lease(&other, "a", "unknown", 4),
        lease(&tenant, "b", "d", 3),
    ];
    let answers = directory.renew(&leases).await.expect("renew");
    use Renewed::{Absent, Ours, Taken};
    assert_eq!(answers, [Absent, Taken, Ours, Ours, Absent, Ours]);
    assert_eq!(directory.renew(&[]).await, Ok(Vec::new()));
    assert_eq!(directory.unregister(&[]).await, Ok(()));
}

async fn a_batch_removes_only_its_own_and_frees_places(directory: &impl Directory) {
    let tenant = fresh_tenant();
    for n in 0..4_u128 {
        let answer = directory.register(&tenant, &format!("u{n}"), &route("d", "n1", n), limits(4, 0)).await;
        assert_eq!(answer, Ok(Registered::New));
    }
    let newer = route("d", "n2", 10);
    directory.register(&tenant, "u0", &newer, limits(4, 0)).await.expect("register");
    let leases = [
        lease(&tenant, "u0", "d", 0),
        lease(&tenant, "u1", "d", 1),
        lease(&tenant, "nobody", "d", 1),
        lease(&tenant, "u2", "d", 2),
    ];
    directory.unregister(&leases).await.expect("unregister");
    assert_eq!(routes_of(directory, &tenant, "u0").await, [newer]);
    assert_eq!(routes_of(directory, &tenant, "u3").await.len(), 1);
    assert_eq!(renew(directory, &tenant, "u1", "d", 1).await, Renewed::Absent);
    // Two of four places are free now.
    for n in 20..22_u128 {
        let answer = directory.register(&tenant, &format!("u{n}"), &route("d", "n1", n), limits(4, 0)).await;
        assert_eq!(answer, Ok(Registered::New));
    }
    let full = directory.register(&tenant, "late", &route("d", "n1", 30), limits(4, 0)).await;
    assert_eq!(full, Ok(Registered::TenantFull { current: 4 }));
}

async fn large_batches_are_complete(directory: &impl Directory) {
    let tenant = fresh_tenant();
    let tenant = &tenant;
    let leases: Vec<Lease> =
        (0..300_u128).map(|n| lease(tenant, &format!("u{}", n / 2), &format!("d{n}"), n)).collect();
    let registrations = leases.iter().map(|lease| async move {
        let route = route(&lease.device, "n1", lease.connection);
        directory.register(tenant, &lease.user, &route, limits(0, 0)).await.expect("register")
    });
    futures_util::future::join_all(registrations).await;
    let answers = directory.renew(&leases).await.expect("renew");
    assert_eq!(answers, vec![Renewed::Ours; 300]);
    directory.unregister(&leases[..299]).await.expect("unregister");
    let answers = directory.renew(&leases).await.expect("renew");
    assert_eq!(answers.iter().filter(|answer| **answer == Renewed::Absent).count(), 299);
    assert_eq!(answers[299], Renewed::Ours);
}

/// The second of the directory's clock.
async fn second(directory: &impl Directory, asker: &str) -> i64 {
    directory.announce(&peer(asker, 1), 60_000).await.expect("announce").now_ms / 1000
}

async fn a_second_has_one_budget_for_all(directory: &impl Directory) {
    // A busy machine may need several tries to ask three times within one second.
    for _ in 0..20 {
        let (tenant, other) = (fresh_tenant(), fresh_tenant());
        let first = second(directory, &tenant).await;
        let answers = futures_util::future::join_all([
            directory.take_budget(&tenant, 7, 10),
            directory.take_budget(&tenant, 7, 10),
            directory.take_budget(&tenant, 7, 10),
            directory.take_budget(&other, 7, 10),
        ])
        .await;
        let answers: Vec<u32> = answers.into_iter().map(|answer| answer.expect("budget")).collect();
        assert!(answers.iter().all(|got| *got <= 7), "more than wanted: {answers:?}");
        if second(directory, &tenant).await != first {
            continue;
        }
        assert_eq!(answers[..3].iter().sum::<u32>(), 10, "shared and used up: {answers:?}");
        assert_eq!(answers[3], 7, "tenants don't share a budget");
        while second(directory, &tenant).await == first {
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(directory.take_budget(&tenant, 7, 10).await, Ok(7), "a new second has a new budget");
        return;
    }
    panic!("no second was long enough");
}
