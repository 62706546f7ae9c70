//! From configuration to connections: one pool for commands, one way to a connection that listens. Knows no key and no
//! script, and never waits for longer than its own limits.

use std::fmt;
use std::time::Duration;

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use deadpool_redis::redis::cluster::ClusterClientBuilder;
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::sentinel::{SentinelClient, SentinelServerType as ServerType};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisFuture, RedisResult, Value, cmd,
};
use deadpool_redis::sentinel::{SentinelNodeConnectionInfo, SentinelServerType, TlsMode};
use deadpool_redis::{PoolConfig, Runtime, Timeouts, cluster, sentinel};

use super::connection::{Layout, RedisConfig, RedisMistakes};

/// Each link holds one connection and may open its successor meanwhile. Connections are multiplexed: all callers share
/// them.
const POOL_SIZE: usize = 4;
/// To open a connection, all its round trips together.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// The same for a cluster: it gives each of its nodes that long, and then looks who has which slots.
const CONNECT_CLUSTER: Duration = Duration::from_secs(5);

impl RedisConfig {
    /// A pool that connects on first use. Fails only when the configuration cannot be carried out by this build.
    pub(super) fn pool(&self) -> Result<RedisPool, RedisMistakes> {
        if self.ssl {
            // Whoever comes first decides for the process; all of it agrees on ring.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let connect = if self.layout == Layout::Cluster { CONNECT_CLUSTER } else { CONNECT };
        let limits = Timeouts { wait: Some(connect), create: Some(connect), recycle: Some(connect) };
        let size = PoolConfig { timeouts: limits, ..PoolConfig::new(POOL_SIZE) };
        match &self.layout {
            Layout::Single => {
                let first = self.first()?;
                // Deadlines are the caller's.
                let config =
                    AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(Some(CONNECT));
                let manager = deadpool_redis::Manager::new_with_config(first, config).map_err(mistake)?;
                let pool = deadpool_redis::Pool::builder(manager).config(size).runtime(Runtime::Tokio1);
                Ok(RedisPool::Single(pool.build().map_err(mistake)?))
            }
            Layout::Cluster => {
                let nodes = self.nodes()?;
                // Names what is wrong with the nodes before the pool meets them.
                ClusterClientBuilder::new(nodes.clone()).build().map_err(mistake)?;
                let manager = cluster::Manager::new(nodes, false).map_err(mistake)?;
                let pool = cluster::Pool::builder(manager).config(size).runtime(Runtime::Tokio1);
                Ok(RedisPool::Cluster(pool.build().map_err(mistake)?))
            }
            Layout::Sentinel(service) => {
                let (sentinels, master) = (self.sentinels()?, SentinelServerType::Master);
                let manager = sentinel::Manager::new(sentinels, service.clone(), Some(self.behind_sentinel()), master);
                let pool = sentinel::Pool::builder(manager.map_err(mistake)?).config(size).runtime(Runtime::Tokio1);
                Ok(RedisPool::Sentinel(pool.build().map_err(mistake)?))
            }
        }
    }

    /// Where subscriptions are opened.
    pub(super) fn listening(&self) -> Result<Listening, RedisMistakes> {
        match &self.layout {
            Layout::Single => Ok(Listening::Any(vec![Client::open(self.first()?).map_err(mistake)?])),
            Layout::Cluster => {
                let clients = self.nodes()?.into_iter().map(Client::open).collect::<RedisResult<_>>();
                Ok(Listening::Any(clients.map_err(mistake)?))
            }
            Layout::Sentinel(service) => {
                let nodes = Some(self.behind_sentinel().into());
                let client = SentinelClient::build(self.sentinels()?, service.clone(), nodes, ServerType::Master);
                Ok(Listening::Master(Box::new(client.map_err(mistake)?)))
            }
        }
    }

    fn first(&self) -> Result<ConnectionInfo, RedisMistakes> {
        self.nodes()?.into_iter().next().ok_or_else(|| mistake("no endpoint given"))
    }

    fn nodes(&self) -> Result<Vec<ConnectionInfo>, RedisMistakes> {
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        let node = |addr: ConnectionAddr| {
            let info = addr.into_connection_info().map_err(mistake)?;
            Ok(info.set_redis_settings(settings.clone()))
        };
        self.addresses()?.into_iter().map(node).collect()
    }

    /// Sentinels are asked without a password of their own.
    fn sentinels(&self) -> Result<Vec<ConnectionInfo>, RedisMistakes> {
        self.addresses()?.into_iter().map(|addr| addr.into_connection_info().map_err(mistake)).collect()
    }

    fn behind_sentinel(&self) -> SentinelNodeConnectionInfo {
        SentinelNodeConnectionInfo {
            tls_mode: self.ssl.then_some(TlsMode::Secure),
            redis_connection_info: Some(deadpool_redis::RedisConnectionInfo {
                db: self.database,
                username: self.user.clone(),
                password: self.password.clone(),
                ..Default::default()
            }),
        }
    }

    fn addresses(&self) -> Result<Vec<ConnectionAddr>, RedisMistakes> {
        let address = |(host, port): &(String, u16)| {
            let (host, port) = (host.clone(), *port);
            let addr = match self.ssl {
                true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
                false => ConnectionAddr::Tcp(host, port),
            };
            addr.is_supported().then_some(addr).ok_or_else(|| mistake("ssl: this build has no TLS for Redis"))
        };
        self.endpoints.iter().map(address).collect()
    }
}

fn mistake(what: impl fmt::Display) -> RedisMistakes {
    RedisMistakes(vec![what.to_string()])
}

/// The three kinds of Redis behind one type.
#[derive(Clone)]
pub(super) enum RedisPool {
    Single(deadpool_redis::Pool),
    Cluster(cluster::Pool),
    Sentinel(sentinel::Pool),
}

impl RedisPool {
    /// A usable connection, or why there is none.
    pub(super) async fn get(&self) -> Result<Held, String> {
        match self {
            RedisPool::Single(pool) => pool.get().await.map(Held::Single).map_err(|e| e.to_string()),
            RedisPool::Cluster(pool) => pool.get().await.map(Held::Cluster).map_err(|e| e.to_string()),
            RedisPool::Sentinel(pool) => pool.get().await.map(Held::Sentinel).map_err(|e| e.to_string()),
        }
    }

    /// True when a command may name keys of one slot only.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, RedisPool::Cluster(_))
    }
}

/// A connection that is checked out. It is never given back: a pool asks a connection for a PING before it hands it out
/// again, which would double the round trips.
pub(super) enum Held {
    Single(deadpool_redis::Connection),
    Cluster(cluster::Connection),
    Sentinel(sentinel::Connection),
}

impl Held {
    pub(super) fn share(&self) -> RedisConnection {
        match self {
            Held::Single(connection) => RedisConnection::Server((**connection).clone()),
            Held::Cluster(connection) => RedisConnection::Cluster((**connection).clone()),
            Held::Sentinel(connection) => {
                let mut server: MultiplexedConnection = (**connection).clone();
                // Deadlines are the caller's; this one only has to be longer.
                server.set_response_timeout(Duration::from_secs(60));
                RedisConnection::Server(server)
            }
        }
    }

    /// Takes it out of the pool for good.
    pub(super) fn discard(self) {
        match self {
            Held::Single(connection) => drop(deadpool_redis::Connection::take(connection)),
            Held::Cluster(connection) => drop(cluster::Connection::take(connection)),
            Held::Sentinel(connection) => drop(sentinel::Connection::take(connection)),
        }
    }
}

/// A share of a multiplexed connection.
#[derive(Clone)]
pub(super) enum RedisConnection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisConnection {
    /// Is it of use? Answers who has which slots, where there are any: another answer means that other servers are to be
    /// asked from now on. A cluster's connection finds that out by itself only when a former master says so, and a
    /// frozen one says nothing.
    pub(super) async fn view(&mut self) -> RedisResult<String> {
        match self {
            RedisConnection::Server(server) => cmd("PING").query_async::<Value>(server).await.map(|_| String::new()),
            RedisConnection::Cluster(cluster) => {
                let slots: Vec<Vec<Value>> = cmd("CLUSTER").arg("SLOTS").query_async(cluster).await?;
                // From, to, master; then come replicas.
                let mut masters: Vec<String> = slots.iter().map(|range| format!("{:?}", range.get(..3))).collect();
                masters.sort_unstable();
                Ok(masters.concat())
            }
        }
    }

    /// So many looks in a row must fail before another connection is better. A cluster's is asked on any of its nodes, one
    /// of which may be dead while the others go on.
    pub(super) fn looks(&self) -> u32 {
        match self {
            RedisConnection::Server(_) => 1,
            RedisConnection::Cluster(_) => 6,
        }
    }

    fn inner(&mut self) -> &mut dyn ConnectionLike {
        match self {
            RedisConnection::Server(connection) => connection,
            RedisConnection::Cluster(connection) => connection,
        }
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.inner().req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.inner().req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        match self {
            RedisConnection::Server(connection) => connection.get_db(),
            RedisConnection::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Where a subscription can be opened.
pub(super) enum Listening {
    /// One server is as good as another: a cluster tells its news to all.
    Any(Vec<Client>),
    Master(Box<SentinelClient>),
}

impl Listening {
    /// Tries another server each time, where there are several.
    pub(super) async fn open(&mut self) -> RedisResult<PubSub> {
        match self {
            Listening::Any(clients) => {
                clients.rotate_left(1);
                clients[0].get_async_pubsub().await
            }
            Listening::Master(sentinels) => sentinels.async_get_client().await?.get_async_pubsub().await,
        }
    }

    /// True when the server can change without the connection breaking.
    pub(super) fn follows_a_master(&self) -> bool {
        matches!(self, Listening::Master(_))
    }
}
