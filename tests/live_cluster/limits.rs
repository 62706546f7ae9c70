//! What holds for a device, a user and a tenant holds across the nodes.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use mics::hookmock::{MockSettings, MockTenant};
use mics_client::MicsError;
use mics_domain::policy::HookOp;
use mics_proto::hook::AuthResponse;
use mics_proto::prost::Message as _;
use tokio::time::Instant;

use super::processes::{Cluster, SECRET};
use super::redis_support::{Server, free_port, redis_is_missing};
use super::users::{User, options};

/// Places of a dead node are free within 8 s; twice that on a busy machine.
const FREED: Duration = Duration::from_secs(16);
/// What the mock allows each user.
const PER_USER: usize = 8;
const PER_TENANT: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_connection_of_a_device_wins_across_nodes() {
    if redis_is_missing("the_newest_connection_of_a_device_wins_across_nodes") {
        return;
    }
    let cluster = Cluster::start(3).await;
    let alice = User::at(&cluster.nodes[0], "alice").await;
    let first = User::at(&cluster.nodes[0], "bob").await;
    alice.tell("bob", "m-1").await;
    first.got(&["m-1".into()]).await;
    let second = User::at(&cluster.nodes[1], "bob").await;
    assert_eq!(first.closed().await, 4409);
    alice.tell("bob", "m-2").await;
    second.got(&["m-2".into()]).await;
    let third = User::at(&cluster.nodes[2], "bob").await;
    assert_eq!(second.closed().await, 4409);
    alice.tell("bob", "m-3").await;
    third.got(&["m-3".into()]).await;
    assert_eq!(third.seen(), ["m-3"], "the others had theirs");
    third.still_connected();
}

/// Whether a device was let in; refused can it only be for a limit.
async fn join(cluster: &Cluster, node: usize, user: &str, device: usize) -> Option<User> {
    match User::try_at(cluster.nodes[node].port, user, &format!("d{device}"), options(false)).await {
        Ok(user) => Some(user),
        Err(MicsError::Closed(info)) if info.code == 4429 => None,
        Err(error) => panic!("refused with {error}"),
    }
}

/// So many devices get in on the nodes in turn and no more; after a crash of the last node its places are free.
async fn limit_holds(cluster: &mut Cluster, limit: usize, user_of: impl Fn(usize) -> String) {
    let mut inside = Vec::new();
    for n in 0..limit {
        inside.push(join(cluster, n % 3, &user_of(n), n).await.expect("there is room"));
    }
    for node in 0..3 {
        assert!(join(cluster, node, &user_of(limit), limit).await.is_none(), "one above the limit was let in");
    }
    cluster.nodes[2].kill();
    let killed = Instant::now();
    let freed = (0..limit).filter(|n| n % 3 == 2).count();
    for n in 0..freed {
        loop {
            if let Some(user) = join(cluster, n % 2, &user_of(n), 100 + n).await {
                inside.push(user);
                break;
            }
            assert!(killed.elapsed() < FREED, "places of the dead node are still taken: {n} of {freed} are free");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    eprintln!("{freed} places of the dead node were free after {:?}", killed.elapsed());
    assert!(join(cluster, 0, &user_of(0), 200).await.is_none(), "one above the limit was let in again");
    let left = inside.iter().enumerate().filter(|(n, _)| *n >= limit || n % 3 != 2);
    left.for_each(|(_, user)| user.still_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_limit_holds_across_nodes_and_outlives_a_crash() {
    if redis_is_missing("a_users_limit_holds_across_nodes_and_outlives_a_crash") {
        return;
    }
    let mut cluster = Cluster::start(3).await;
    limit_holds(&mut cluster, PER_USER, |_| "bob".into()).await;
}

/// The mock, with a limit per tenant.
fn small_tenant() -> SocketAddr {
    let (ready, address) = mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = socket.local_addr().expect("an address");
            let tenant = web::Data::new(MockTenant::new(MockSettings {
                tenant_secrets: [("t1".to_owned(), SECRET.to_owned())].into(),
                hook_base_url: format!("http://{address}"),
                ..MockSettings::default()
            }));
            let app = move || App::new().app_data(tenant.clone()).configure(hooks);
            let server = HttpServer::new(app).workers(1).disable_signals().listen(socket).expect("it listens").run();
            ready.send(address).expect("somebody waits");
            let _ = server.await;
        });
    });
    address.recv().expect("the hooks start")
}

fn hooks(config: &mut web::ServiceConfig) {
    for op in HookOp::ALL {
        let answer = move |tenant: web::Data<MockTenant>, body: web::Bytes| async move {
            let mut answer = tenant.answer(op, &body, false);
            if op == HookOp::Auth {
                let mut auth = AuthResponse::decode(&answer[..]).expect("an answer");
                auth.config.as_mut().expect("a user").tenant_max_connections = PER_TENANT as i32;
                answer = auth.encode_to_vec();
            }
            HttpResponse::Ok().body(answer)
        };
        config.service(web::resource(mics::hooks::path(op)).route(web::post().to(answer)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_limit_holds_across_nodes_and_outlives_a_crash() {
    if redis_is_missing("a_tenants_limit_holds_across_nodes_and_outlives_a_crash") {
        return;
    }
    let redis = Server::start(free_port(), "").await;
    let connection = format!("127.0.0.1:{}", redis.port);
    let mut cluster = Cluster::of(&connection, small_tenant(), None, 3, |_| {}).await;
    limit_holds(&mut cluster, PER_TENANT, |n| format!("user{n}")).await;
}
