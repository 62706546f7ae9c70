//! Listens to what other nodes change, and says when it can't. Must never block a watcher's news on Redis.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Weak;
use std::time::Duration;

use deadpool_redis::redis::Value;
use deadpool_redis::redis::aio::{PubSub, PubSubSink, PubSubStream};
use futures_util::stream::StreamExt;
use mics_domain::ports::RouteWatcher;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::keys::{CHANGES, NODES, read_user_news};
use super::link::Current;
use super::pool::{CONNECT, Listening};

/// Between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(200);
/// A silent connection is asked this often whether it is alive, and has as long to answer.
const PING: Duration = Duration::from_secs(1);
/// News told at a time; repeated ones are told once.
const AT_ONCE: usize = 256;

/// Ends when nobody listens any more.
pub(super) async fn follow(
    mut listening: Listening,
    watcher: Weak<dyn RouteWatcher>,
    mut server: watch::Receiver<Option<Current>>,
) {
    while watcher.strong_count() > 0 {
        server.mark_unchanged();
        if let Some((sink, stream)) = subscribe(&mut listening).await {
            tell(&watcher, |watcher| watcher.watching(true));
            let server = listening.follows_a_master().then_some(&mut server);
            hear(sink, stream, &watcher, server).await;
            tell(&watcher, |watcher| watcher.watching(false));
        }
        sleep(PAUSE).await;
    }
}

async fn subscribe(listening: &mut Listening) -> Option<(PubSubSink, PubSubStream)> {
    let opening = async {
        let (mut sink, stream) = listening.open().await.map(PubSub::split).ok()?;
        sink.subscribe(CHANGES).await.ok()?;
        Some((sink, stream))
    };
    timeout(CONNECT, opening).await.ok()?
}

/// Until the connection is lost, or commands go to another server than this one.
async fn hear(
    mut sink: PubSubSink,
    stream: PubSubStream,
    watcher: &Weak<dyn RouteWatcher>,
    mut server: Option<&mut watch::Receiver<Option<Current>>>,
) {
    let mut messages = pin!(stream.ready_chunks(AT_ONCE));
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let moved = async {
            match &mut server {
                Some(server) => drop(server.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = messages.next() => {
                let Some(news) = news else { return };
                let news: HashSet<String> = news.iter().filter_map(|message| message.get_payload().ok()).collect();
                news.iter().for_each(|news| tell_news(watcher, news));
            }
            _ = pings.tick() => {
                if watcher.strong_count() == 0 || !matches!(timeout(PING, sink.ping::<Value>()).await, Ok(Ok(_))) {
                    return;
                }
            }
            () = moved => return,
        }
    }
}

fn tell_news(watcher: &Weak<dyn RouteWatcher>, news: &str) {
    if news == NODES {
        tell(watcher, |watcher| watcher.nodes_changed());
    } else if let Some((tenant, user)) = read_user_news(news) {
        tell(watcher, |watcher| watcher.changed(&tenant, &user));
    }
}

fn tell(watcher: &Weak<dyn RouteWatcher>, news: impl FnOnce(&dyn RouteWatcher)) {
    if let Some(watcher) = watcher.upgrade() {
        news(&*watcher);
    }
}
