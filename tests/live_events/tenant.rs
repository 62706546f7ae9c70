//! A tenant that keeps offline messages itself: it reads OFFLINE_MESSAGE from its topic and answers /get-offline-messages from
//! what it stored. Must not know how a gateway decides.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use mics::hookmock::{MockSettings, MockTenant};
use mics::hooks::sign;
use mics::kafka::event_topic;
use mics_domain::policy::HookOp;
use mics_proto::hook::{EventType, GetOfflineMessagesRequest, GetOfflineMessagesResponse, MqEvent};
use mics_proto::message::MessageRequest;
use mics_proto::prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::client::http_get;
use super::kafka_support::{Broker, PARTITIONS};
use super::processes::{Cluster, Plan, SECRET};
use super::redis_support::{Server, free_port, redis_is_missing};

pub const TENANT: &str = "t1";
/// Most of the gateway's budget for a pull: so long the tenant waits for events that are still on their way.
const CATCH_UP: Duration = Duration::from_millis(100);

/// The event in a record's value, when its bytes are canonical and its signature is right.
pub fn judge(value: &[u8], key: &str) -> Result<MqEvent, String> {
    let event = MqEvent::decode(value).map_err(|error| error.to_string())?;
    let cleared = MqEvent { sign: String::new(), ..event.clone() };
    if event.encode_to_vec() != value {
        return Err(format!("bytes of {event:?}"));
    }
    let right = sign::event_sign(key.as_bytes(), &cleared.encode_to_vec());
    if right == event.sign { Ok(event) } else { Err(format!("signature of {event:?}")) }
}

/// The same where nothing else may be.
pub fn signed(value: &[u8], key: &str) -> MqEvent {
    judge(value, key).expect("an event that its node signed")
}

/// Messages per offline user, in the order in which they were notified.
#[derive(Default)]
pub struct Store {
    kept: Mutex<HashMap<String, Vec<MessageRequest>>>,
    /// (sender, id, recipient): an event may come twice.
    known: Mutex<HashSet<(String, String, String)>>,
    gateway: Mutex<Option<SocketAddr>>,
}

impl Store {
    pub fn notified(&self) -> usize {
        self.known.lock().unwrap().len()
    }

    pub fn ids_of(&self, user: &str) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        kept.get(user).into_iter().flatten().map(|message| message.msg_id.clone()).collect()
    }

    /// The user has these: they are not answered again.
    pub fn read_by(&self, user: &str, ids: &[String]) {
        if let Some(kept) = self.kept.lock().unwrap().get_mut(user) {
            kept.retain(|message| !ids.contains(&message.msg_id));
        }
    }

    pub fn take(&self, event: &MqEvent) {
        if event.event_type() != EventType::OfflineMessage {
            return;
        }
        let message = MessageRequest::decode(event.event_data.clone()).expect("the message as it was sent");
        assert_eq!((&message.msg_id, &message.user_id), (&event.msg_id, &event.user_id));
        if self.known.lock().unwrap().insert((event.user_id.clone(), event.msg_id.clone(), event.to_user_id.clone())) {
            self.kept.lock().unwrap().entry(event.to_user_id.clone()).or_default().push(message);
        }
    }

    fn page(&self, request: &GetOfflineMessagesRequest) -> GetOfflineMessagesResponse {
        let kept = self.kept.lock().unwrap();
        let kept = kept.get(&request.user_id).map_or(&[][..], |kept| kept);
        let start = request.cursor.parse().unwrap_or(0).min(kept.len());
        let end = kept.len().min(start + request.max_messages as usize);
        GetOfflineMessagesResponse {
            meta: request.meta.clone(),
            ok: true,
            messages: kept[start..end].to_vec(),
            next_cursor: end.to_string(),
            has_more: end < kept.len(),
            ..Default::default()
        }
    }

    /// Everything that the gateway has notified is here.
    pub fn caught_up(&self) -> bool {
        let Some(gateway) = *self.gateway.lock().unwrap() else { return false };
        let (_, text) = http_get(gateway, "/metrics");
        let lines = text.lines().filter(|line| line.starts_with("mics_offline_notified_total{"));
        let told: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        self.notified() >= told as usize
    }
}

/// The back end and its reader of the topic; the reader ends with it.
pub struct Tenant {
    pub address: SocketAddr,
    pub store: Arc<Store>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Tenant {
    /// With a broker of its own, whose topics it creates; `None`, loudly, where that or Redis can't be had.
    pub async fn start(test: &str) -> Option<(Broker, Tenant)> {
        if redis_is_missing(test) {
            return None;
        }
        let broker = Broker::plain(test)?;
        let dead = mics::kafka::dead_letter_topic(TENANT);
        broker.create(&[(&event_topic(TENANT), &[]), (&dead, &[])]).await;
        let (store, stop) = (Arc::new(Store::default()), Arc::new(AtomicBool::new(false)));
        let (kept, stopped, bootstrap) = (store.clone(), stop.clone(), broker.bootstrap.clone());
        let reader = std::thread::spawn(move || read(&bootstrap, &kept, &stopped));
        Some((broker, Tenant { address: serve(store.clone()), store, stop, reader: Some(reader) }))
    }

    /// One gateway of this tenant, which publishes to the broker.
    pub async fn gateway(&self, broker: &Broker, change: impl Fn(&mut Plan)) -> Cluster {
        let redis = Server::start(free_port(), "").await;
        let mut cluster = Cluster::of(&format!("127.0.0.1:{}", redis.port), self.address, None, 1, |plan| {
            plan.set("KAFKA__BOOTSTRAP_SERVERS", &broker.bootstrap);
            plan.set("KAFKA_PROP_RECONNECT_BACKOFF_MAX_MS", 500);
            change(plan);
        })
        .await;
        cluster.redis = Some(redis);
        *self.store.gateway.lock().unwrap() = Some(cluster.nodes[0].address());
        cluster
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.reader.take().is_none_or(|reader| reader.join().is_ok());
        assert!(ended || std::thread::panicking(), "the reader met an event that is wrong");
    }
}

fn read(bootstrap: &str, store: &Store, stop: &AtomicBool) {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", bootstrap).set("group.id", "tenant").set("enable.auto.commit", "false");
    settings.set("fetch.wait.max.ms", "10").set("reconnect.backoff.max.ms", "500");
    let consumer: BaseConsumer = settings.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(&event_topic(TENANT), partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&partitions).expect("partitions");
    while !stop.load(Ordering::Relaxed) {
        if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
            store.take(&signed(record.payload().unwrap_or_default(), SECRET));
        }
    }
}

struct Hooks {
    mock: MockTenant,
    store: Arc<Store>,
}

/// The mock's answers, except those about offline messages.
fn serve(store: Arc<Store>) -> SocketAddr {
    let (ready, address) = mpsc::channel();
    std::thread::spawn(move || {
        actix_rt::System::new().block_on(async move {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = socket.local_addr().expect("an address");
            let mock = MockTenant::new(MockSettings {
                tenant_secrets: [(TENANT.to_owned(), SECRET.to_owned())].into(),
                hook_base_url: format!("http://{address}"),
                group_members: [("friends".to_owned(), ["alice", "bob", "carol"].map(str::to_owned).to_vec())].into(),
                offline_use_hook_pull: true,
                ..MockSettings::default()
            });
            let hooks = web::Data::new(Hooks { mock, store });
            let app = move || App::new().app_data(hooks.clone()).configure(routes);
            let server = HttpServer::new(app).workers(1).disable_signals().listen(socket).expect("it listens").run();
            ready.send(address).expect("somebody waits");
            let _ = server.await;
        });
    });
    address.recv().expect("the hooks start")
}

fn routes(config: &mut web::ServiceConfig) {
    for op in HookOp::ALL {
        let handler = move |hooks: web::Data<Hooks>, body: web::Bytes| async move {
            HttpResponse::Ok().body(match op {
                HookOp::GetOfflineMessages => offline_messages(&hooks, &body).await,
                _ => hooks.mock.answer(op, &body, false),
            })
        };
        config.service(web::resource(mics::hooks::path(op)).route(web::post().to(handler)));
    }
}

async fn offline_messages(hooks: &Hooks, body: &[u8]) -> Vec<u8> {
    let request = GetOfflineMessagesRequest::decode(body).expect("a request");
    let meta = request.meta.as_ref().expect("a meta");
    assert!(sign::verify_request(SECRET.as_bytes(), body, meta), "the pull is signed");
    assert_eq!(request.max_messages, 100);
    if request.cursor.is_empty() {
        let store = hooks.store.clone();
        // What was notified before the user had a session is on its way.
        let caught_up = web::block(move || {
            let end = tokio::time::Instant::now() + CATCH_UP;
            while !store.caught_up() && tokio::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        caught_up.await.expect("no panic");
    }
    hooks.store.page(&request).encode_to_vec()
}
