//! A real cluster: gateway processes, a hook mock, Redis, clients of the SDK, and everything that can happen to them:
//! crash, freeze, partition, restart. All processes are the test's own and end with it. Needs `redis-server` on the
//! path; says so and passes without it. Waits for conditions; a time is compared only where it is promised.

#[allow(dead_code)]
#[path = "support/client.rs"]
mod client;
#[path = "live_cluster/clocks.rs"]
mod clocks;
#[path = "live_cluster/crash.rs"]
mod crash;
#[path = "live_cluster/frozen.rs"]
mod frozen;
#[path = "live_cluster/limits.rs"]
mod limits;
#[path = "live_cluster/lines.rs"]
mod lines;
#[path = "live_cluster/partition.rs"]
mod partition;
#[path = "live_cluster/privacy.rs"]
mod privacy;
#[path = "live_cluster/processes.rs"]
mod processes;
#[path = "live_cluster/proxy.rs"]
mod proxy;
#[path = "live_cluster/redis.rs"]
mod redis;
mod redis_support;
#[path = "live_cluster/restart.rs"]
mod restart;
#[path = "live_cluster/talk.rs"]
mod talk;
#[path = "live_cluster/traces.rs"]
mod traces;
#[path = "live_cluster/users.rs"]
mod users;

use std::time::Duration;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
