//! The directory on Redis: scripts for what must be atomic, the server's clock for every lease, a deadline on every
//! command. Must never panic and never hold a session up for longer than its deadlines.
//!
//! Keys (ids escaped, see [`escape`]; all keys of one script share a hash tag, so that a cluster can run it):
//!
//! | key | type | content |
//! |---|---|---|
//! | `mics:{tenant:user}:online` | hash | device -> `node\|endpoint\|connection\|onlineAtMs` |
//! | `mics:{tenant:user}:leases` | zset | device -> end of its lease |
//! | `mics:{tenant}:places` | zset | `user\|device\|connection` -> end of its lease |
//!
//! A tenant's limit lives in another slot than its users. So a registration first takes a place, then registers, and
//! gives the place back when it was not needed; what a crash leaves behind ends with its lease.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{Cmd, FromRedisValue, cmd, from_redis_value};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use mics_domain::ports::{ConnectionLimits, Directory, DirectoryDown, LocalFuture, Registered, Route};

use super::connection::{RedisConfig, RedisMistakes, RedisPool};

/// Per command, waiting for a connection included, unless told otherwise.
const DEADLINE: Duration = Duration::from_millis(200);
/// Users per look-up script; keeps one script short enough not to hold up others.
const USERS_PER_LOOKUP: usize = 128;
/// Look-ups in flight at a time for one question.
const LOOKUPS_IN_FLIGHT: usize = 8;

const TAKE_PLACE: &str = include_str!("scripts/take_place.lua");
const REGISTER: &str = include_str!("scripts/register.lua");
const RENEW: &str = include_str!("scripts/renew.lua");
const UNREGISTER: &str = include_str!("scripts/unregister.lua");
const ROUTES: &str = include_str!("scripts/routes.lua");

/// Connections are opened on first use, by the runtime of whoever asks first, which must outlive the directory.
pub struct RedisDirectory {
    pool: RedisPool,
    deadline: Duration,
}

impl RedisDirectory {
    /// Does not connect: a node starts without Redis and finds it when it is there. Errors name what this build cannot
    /// do.
    pub fn new(config: &RedisConfig) -> Result<Self, RedisMistakes> {
        Ok(RedisDirectory { pool: config.pool()?, deadline: DEADLINE })
    }

    /// Another deadline per command than 200 ms.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        RedisDirectory { deadline, ..self }
    }

    async fn ask<T: FromRedisValue>(&self, command: Cmd) -> Result<T, DirectoryDown> {
        let exchange = async {
            let mut connection = self.pool.get().await?;
            connection.ask(&command).await.map_err(|e| e.to_string())
        };
        let answer = tokio::time::timeout(self.deadline, exchange).await;
        let answer = answer.map_err(|_| DirectoryDown("deadline".into()))?;
        from_redis_value(answer.map_err(DirectoryDown)?).map_err(|e| DirectoryDown(e.to_string()))
    }

    /// `None` when the place was taken, else how many there are.
    async fn take_place(
        &self,
        tenant: &str,
        member: &str,
        lease_ms: u64,
        limit: u32,
    ) -> Result<Option<u32>, DirectoryDown> {
        let command = script(TAKE_PLACE, &[places_key(tenant)]).arg(member).arg(lease_ms.max(1)).arg(limit).take();
        let (taken, count): (u32, u32) = self.ask(command).await?;
        Ok((taken == 0).then_some(count))
    }

    async fn give_place_back(&self, tenant: &str, member: &str) -> Result<(), DirectoryDown> {
        self.ask(cmd("ZREM").arg(places_key(tenant)).arg(member).take()).await
    }

    async fn register_device(
        &self,
        tenant: &str,
        user: &str,
        route: &Route,
        limits: ConnectionLimits,
        only_replace: bool,
    ) -> Result<DeviceAnswer, DirectoryDown> {
        let command = script(REGISTER, &user_keys(tenant, user))
            .arg(&*route.device)
            .arg(route_value(route))
            .arg(limits.lease_ms.max(1))
            .arg(limits.user)
            .arg(u8::from(only_replace))
            .take();
        let answer: Vec<deadpool_redis::redis::Value> = self.ask(command).await?;
        DeviceAnswer::read(answer, &route.device).ok_or_else(|| DirectoryDown("unreadable answer".into()))
    }

    async fn register_new(
        &self,
        tenant: &str,
        user: &str,
        route: &Route,
        limits: ConnectionLimits,
    ) -> Result<Registered, DirectoryDown> {
        let place = place(user, &route.device, route.connection);
        let full = self.take_place(tenant, &place, limits.lease_ms, limits.tenant).await?;
        match self.register_device(tenant, user, route, limits, full.is_some()).await? {
            DeviceAnswer::New => Ok(Registered::New),
            DeviceAnswer::Absent => Ok(Registered::TenantFull { current: full.unwrap_or_default() }),
            DeviceAnswer::Replaced(earlier) => {
                if earlier.connection != route.connection {
                    // Best effort from here on: the registration stands, and leases and renewals settle the count.
                    let earlier = self::place(user, &earlier.device, earlier.connection);
                    let _ = self.give_place_back(tenant, &earlier).await;
                }
                if full.is_some() {
                    let _ = self.take_place(tenant, &place, limits.lease_ms, 0).await;
                }
                Ok(Registered::Replaced(earlier))
            }
            DeviceAnswer::Full(current) => {
                if full.is_none() {
                    let _ = self.give_place_back(tenant, &place).await;
                }
                Ok(Registered::UserFull { current })
            }
        }
    }

    /// Routes of at most [`USERS_PER_LOOKUP`] users; of one user in a cluster.
    async fn look_up(&self, tenant: &str, users: &[Arc<str>]) -> Result<Vec<Vec<Route>>, DirectoryDown> {
        let keys: Vec<String> = users.iter().flat_map(|user| user_keys(tenant, user)).collect();
        let answer: Vec<Vec<String>> = self.ask(script(ROUTES, &keys)).await?;
        if answer.len() != users.len() {
            return Err(DirectoryDown("unreadable answer".into()));
        }
        let read = |pair: &[String]| match pair {
            [device, value] => read_route(device, value),
            _ => None,
        };
        Ok(answer.iter().map(|pairs| pairs.chunks(2).filter_map(read).collect()).collect())
    }
}

impl Directory for RedisDirectory {
    fn register<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        route: &'a Route,
        limits: ConnectionLimits,
    ) -> LocalFuture<'a, Result<Registered, DirectoryDown>> {
        Box::pin(self.register_new(tenant, user, route, limits))
    }

    fn unregister<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        device: &'a str,
        connection: u128,
    ) -> LocalFuture<'a, Result<(), DirectoryDown>> {
        Box::pin(async move {
            let command = script(UNREGISTER, &user_keys(tenant, user)).arg(device).arg(hex(connection)).take();
            self.ask::<u32>(command).await?;
            // The place is this connection's own, whoever has the device now.
            self.give_place_back(tenant, &place(user, device, connection)).await
        })
    }

    fn renew<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        device: &'a str,
        connection: u128,
        lease_ms: u64,
    ) -> LocalFuture<'a, Result<bool, DirectoryDown>> {
        Box::pin(async move {
            let command =
                script(RENEW, &user_keys(tenant, user)).arg(device).arg(hex(connection)).arg(lease_ms.max(1)).take();
            let ours = self.ask::<u32>(command).await? == 1;
            if ours {
                self.take_place(tenant, &place(user, device, connection), lease_ms, 0).await?;
            }
            Ok(ours)
        })
    }

    fn routes<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<Vec<Route>>, DirectoryDown>> {
        let per_lookup = if self.pool.is_cluster() { 1 } else { USERS_PER_LOOKUP };
        Box::pin(async move {
            let chunks: Vec<Vec<Vec<Route>>> = stream::iter(users.chunks(per_lookup))
                .map(|chunk| self.look_up(tenant, chunk))
                .buffered(LOOKUPS_IN_FLIGHT)
                .try_collect()
                .await?;
            Ok(chunks.into_iter().flatten().collect())
        })
    }
}

/// What register.lua said.
enum DeviceAnswer {
    New,
    Replaced(Box<Route>),
    Full(u32),
    Absent,
}

impl DeviceAnswer {
    fn read(answer: Vec<deadpool_redis::redis::Value>, device: &str) -> Option<Self> {
        let mut parts = answer.into_iter();
        let word: String = from_redis_value(parts.next()?).ok()?;
        match word.as_str() {
            "new" => Some(DeviceAnswer::New),
            "absent" => Some(DeviceAnswer::Absent),
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

/// EVAL rather than EVALSHA: a few hundred bytes more, and nothing to reload after a failover.
fn script(text: &str, keys: &[String]) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}

fn user_keys(tenant: &str, user: &str) -> [String; 2] {
    let tag = format!("mics:{{{}:{}}}", escape(tenant), escape(user));
    [format!("{tag}:online"), format!("{tag}:leases")]
}

fn places_key(tenant: &str) -> String {
    format!("mics:{{{}}}:places", escape(tenant))
}

fn place(user: &str, device: &str, connection: u128) -> String {
    format!("{}|{}|{}", escape(user), escape(device), hex(connection))
}

fn hex(connection: u128) -> String {
    format!("{connection:032x}")
}

/// Separators and braces as `%xx`, everything else as it is: readable, and no two ids share a spelling.
fn escape(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for c in id.chars() {
        match c {
            '%' | '|' | ':' | '{' | '}' => {
                let _ = write!(escaped, "%{:02x}", u32::from(c));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Undoes [`escape`]; `None` for what it cannot have written.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut id = parts.next()?.to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        id.push(char::from(code));
        id.push_str(&part[2..]);
    }
    Some(id)
}

fn route_value(route: &Route) -> String {
    // The endpoint keeps its colons for the reader; only `%` and `|` matter inside a value.
    let plain = |text: &str| text.replace('%', "%25").replace('|', "%7c");
    format!("{}|{}|{}|{}", plain(&route.node), plain(&route.endpoint), hex(route.connection), route.online_at_ms)
}

fn read_route(device: &str, value: &str) -> Option<Route> {
    let mut parts = value.split('|');
    let mut next = || parts.next();
    let (node, endpoint, connection, online_at) = (next()?, next()?, next()?, next()?);
    if next().is_some() {
        return None;
    }
    Some(Route {
        device: device.into(),
        node: unescape(node)?.into(),
        endpoint: unescape(endpoint)?.into(),
        connection: u128::from_str_radix(connection, 16).ok()?,
        online_at_ms: online_at.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_readable_and_share_a_slot_per_script() {
        assert_eq!(user_keys("t1", "alice"), ["mics:{t1:alice}:online", "mics:{t1:alice}:leases"]);
        assert_eq!(places_key("t1"), "mics:{t1}:places");
        assert_ne!(user_keys("a", "b:c"), user_keys("a:b", "c"));
        assert_ne!(place("a|b", "c", 1), place("a", "b|c", 1));
    }

    #[test]
    fn escaping_can_be_undone() {
        for id in ["alice", "a:b|c{d}%7c%", "张三", "%%", ""] {
            assert_eq!(unescape(&escape(id)).as_deref(), Some(id));
        }
        assert_eq!(unescape("%x"), None);
        assert_eq!(unescape("%张"), None);
    }

    #[test]
    fn routes_survive_the_way_and_rubbish_is_skipped() {
        let route = Route {
            device: "d".into(),
            node: "n|1%".into(),
            endpoint: "http://[::1]:8080".into(),
            connection: u128::MAX - 1,
            online_at_ms: -5,
        };
        assert_eq!(read_route("d", &route_value(&route)), Some(route));
        for rubbish in ["", "a|b|c", "n|e|zz|1", "n|e|1|x", "n|e|1|1|1"] {
            assert_eq!(read_route("d", rubbish), None, "{rubbish}");
        }
    }
}
