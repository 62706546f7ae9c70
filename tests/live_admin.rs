//! The admin API and `mics admin` on real clusters: gateway processes, a hook mock, Redis, clients. All processes are the
//! test's own and end with it. Needs `redis-server` on the path; says so and passes without it.

#[path = "live_admin/access.rs"]
mod access;
#[path = "live_admin/api.rs"]
mod api;
#[allow(dead_code)]
#[path = "support/client.rs"]
mod client;
#[path = "live_admin/command.rs"]
mod command;
#[path = "live_admin/drain.rs"]
mod drain;
#[path = "live_admin/figures.rs"]
mod figures;
#[path = "live_admin/messages.rs"]
mod messages;
#[allow(dead_code)]
#[path = "live_cluster/processes.rs"]
mod processes;
mod redis_support;
#[path = "live_admin/reload.rs"]
mod reload;
#[allow(dead_code)]
#[path = "live_cluster/users.rs"]
mod users;
#[path = "live_admin/who.rs"]
mod who;

use std::time::Duration;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
