//! Prints the events of a tenant. `KAFKA_BROKERS` (localhost:9092), `TENANT_ID` (t1), `TENANT_SECRET` (dev-secret-t1),
//! `REQUIRE_SIGN` (true), `GROUP_ID` (mics-hook-<tenant>). Ends on Ctrl-C.

use std::collections::HashMap;

use mics_hook::consumer::{ConsumerOptions, EventConsumer, EventHandler};
use mics_hook::event::EventData;
use mics_hook::{BoxError, MqEvent, RecentEvents};

struct Printer;

impl EventHandler for Printer {
    async fn on_event(&self, event: &MqEvent, data: EventData) -> Result<(), BoxError> {
        match data {
            EventData::Online(_) => println!("{} is online on {}", event.user_id, event.node_id),
            EventData::Offline(_) => println!("{} left {}", event.user_id, event.node_id),
            EventData::Chat(m) => println!("{} sent {} ({} bytes)", event.user_id, m.msg_id, m.msg_body.len()),
            EventData::OfflineMessage(m) => println!("keep {} for {}", m.msg_id, event.to_user_id),
            other => println!("{other:?}"),
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let all: HashMap<String, String> = std::env::vars().collect();
    let get = |name: &str, default: &str| all.get(name).cloned().unwrap_or(default.into());
    let tenant = get("TENANT_ID", "t1");
    let secrets = HashMap::from([(tenant.clone(), get("TENANT_SECRET", "dev-secret-t1"))]);
    let mut options = ConsumerOptions::new(get("KAFKA_BROKERS", "localhost:9092"), secrets);
    options.group_id = get("GROUP_ID", &format!("mics-hook-{tenant}"));
    options.require_sign = get("REQUIRE_SIGN", "true").parse()?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    EventConsumer::new(options, Printer, RecentEvents::default())?.run(stop).await;
    Ok(())
}
