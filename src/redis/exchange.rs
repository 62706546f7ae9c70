//! One question to Redis, or many: deadlines, circuits, and what differs between one server and a cluster. Knows no key
//! and no script.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, Value, cmd, from_redis_value};
use futures_util::stream::{self, StreamExt};
use mics_domain::breaker::{Admit, Breaker, BreakerPolicy};
use mics_domain::ports::DirectoryDown;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::{RedisConfig, RedisMistakes};
use super::link::{Current, Link};

/// Of one small question, waiting for a connection included.
const DEADLINE: Duration = Duration::from_millis(200);
/// A batch may take this many deadlines.
const BATCH_DEADLINES: u32 = 5;
/// Questions of one batch that a cluster is asked at a time.
const IN_FLIGHT: usize = 64;
/// After so many failures in a row nobody is asked for a while.
const CIRCUIT: BreakerPolicy = BreakerPolicy { failure_threshold: 3, open_ms: 500 };
/// In a cluster each shard has many slots; this many circuits share them, so that a dead shard doesn't stop the others.
const CLUSTER_CIRCUITS: usize = 64;
const SLOTS: usize = 16_384;

/// A command, and the hash tag of its keys.
pub(super) struct Question {
    tag: u16,
    command: Cmd,
}

impl Question {
    /// A script. EVAL rather than EVALSHA: a few hundred bytes more, and nothing to reload after a failover.
    pub(super) fn script(text: &str, keys: &[String]) -> Self {
        let mut command = cmd("EVAL");
        command.arg(text).arg(keys.len()).arg(keys);
        Question { tag: keys.first().map_or(0, |key| slot(key)), command }
    }

    /// A command whose first argument is its only key.
    pub(super) fn command(name: &str, key: &str) -> Self {
        let mut command = cmd(name);
        command.arg(key);
        Question { tag: slot(key), command }
    }

    pub(super) fn arg(mut self, arg: impl deadpool_redis::redis::ToRedisArgs) -> Self {
        self.command.arg(arg);
        self
    }
}

/// The cluster's slot of a key that has a hash tag.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(key, |(tag, _)| tag);
    crc16::State::<crc16::XMODEM>::calculate(tag.as_bytes()) % SLOTS as u16
}

/// Whom a batch must not hold up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody waits for it; a few commands.
    Quick,
    /// Housekeeping, as large as it likes.
    Batch,
}

struct Shared {
    quick: Arc<Link>,
    batch: Arc<Link>,
    circuits: Vec<Mutex<Breaker>>,
    is_cluster: bool,
    started: Instant,
}

#[derive(Clone)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    deadline: Duration,
}

impl Exchange {
    /// Its tasks live on `handle` and in the set.
    pub(super) fn new(config: &RedisConfig, handle: &Handle) -> Result<(Self, JoinSet<()>), RedisMistakes> {
        let pool = config.pool()?;
        let is_cluster = pool.is_cluster();
        let circuits = if is_cluster { CLUSTER_CIRCUITS } else { 1 };
        let shared = Arc::new(Shared {
            quick: Arc::new(Link::new()),
            batch: Arc::new(Link::new()),
            circuits: (0..circuits).map(|_| Mutex::default()).collect(),
            is_cluster,
            started: Instant::now(),
        });
        let mut tasks = JoinSet::new();
        for link in [&shared.quick, &shared.batch] {
            let (link, shared) = (link.clone(), shared.clone());
            tasks.spawn_on(link.keep(pool.clone(), move || shared.reached()), handle);
        }
        Ok((Exchange { shared, deadline: DEADLINE }, tasks))
    }

    pub(super) fn with_deadline(self, deadline: Duration) -> Self {
        Exchange { deadline, ..self }
    }

    /// True when a question may name keys of one slot only.
    pub(super) fn is_cluster(&self) -> bool {
        self.shared.is_cluster
    }

    /// The link whose server the others follow.
    pub(super) fn link(&self) -> &Link {
        &self.shared.quick
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, question: Question) -> Result<T, DirectoryDown> {
        read(self.one(Lane::Quick, question).await?)
    }

    /// Answers in the order asked: in one round trip, or at the same time in a cluster.
    pub(super) async fn ask_all(&self, lane: Lane, questions: Vec<Question>) -> Vec<Result<Value, DirectoryDown>> {
        if questions.is_empty() {
            return Vec::new();
        }
        if self.shared.is_cluster {
            let answers = questions.into_iter().map(|question| self.one(lane, question));
            return stream::iter(answers).buffered(IN_FLIGHT).collect().await;
        }
        let count = questions.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for Question { command, .. } in questions {
            pipeline.add_command(command);
        }
        match self.exchange(lane, 0, Work::Many(pipeline)).await {
            Ok(answers) if answers.len() == count => answers.into_iter().map(Ok).collect(),
            Ok(_) => vec![Err(unreadable()); count],
            Err(down) => vec![Err(down); count],
        }
    }

    async fn one(&self, lane: Lane, question: Question) -> Result<Value, DirectoryDown> {
        let circuit = usize::from(question.tag) * self.shared.circuits.len() / SLOTS;
        let answers = self.exchange(lane, circuit, Work::One(question.command)).await?;
        answers.into_iter().next().ok_or_else(unreadable)
    }

    async fn exchange(&self, lane: Lane, circuit: usize, work: Work) -> Result<Vec<Value>, DirectoryDown> {
        let pass = self.shared.admit(circuit)?;
        let (link, deadline) = match lane {
            Lane::Quick => (&self.shared.quick, self.deadline),
            Lane::Batch => (&self.shared.batch, self.deadline * BATCH_DEADLINES),
        };
        let answers = timeout(deadline, async {
            let Some(Current { mut connection, number }) = link.current().await else {
                return Err((false, "closed".to_owned()));
            };
            let answers = match &work {
                Work::One(command) => command.query_async(&mut connection).await.map(|answer| vec![answer]),
                Work::Many(pipeline) => pipeline.query_async(&mut connection).await,
            };
            answers.map_err(|error: deadpool_redis::redis::RedisError| {
                link.report(number, &error);
                // A refusal is an answer too.
                let answered = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
                (answered, error.to_string())
            })
        });
        let answers = answers.await.unwrap_or_else(|_| {
            link.report_silence();
            Err((false, "deadline".to_owned()))
        });
        let answered = answers.as_ref().map_or_else(|(answered, _)| *answered, |_| true);
        self.shared.settle(circuit, pass, answered);
        answers.map_err(|(_, error)| DirectoryDown(error))
    }
}

enum Work {
    One(Cmd),
    Many(Pipeline),
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn with<R>(&self, circuit: usize, act: impl FnOnce(&mut Breaker) -> R) -> R {
        act(&mut self.circuits[circuit].lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn admit(&self, circuit: usize) -> Result<Admit, DirectoryDown> {
        match self.with(circuit, |breaker| breaker.admit(self.now_ms(), CIRCUIT)) {
            Admit::Refused => Err(DirectoryDown("circuit open".to_owned())),
            pass => Ok(pass),
        }
    }

    fn settle(&self, circuit: usize, pass: Admit, answered: bool) {
        let now_ms = self.now_ms();
        self.with(circuit, |breaker| match answered {
            true => breaker.success(pass),
            false => drop(breaker.failure(pass, now_ms, CIRCUIT)),
        });
    }

    /// A server that was reached again needs no probe. In a cluster a connection says nothing about one shard.
    fn reached(&self) {
        if !self.is_cluster {
            self.with(0, |breaker| *breaker = Breaker::default());
        }
    }
}

fn unreadable() -> DirectoryDown {
    DirectoryDown("unreadable answer".to_owned())
}

pub(super) fn read<T: FromRedisValue>(answer: Value) -> Result<T, DirectoryDown> {
    from_redis_value(answer).map_err(|e| DirectoryDown(e.to_string()))
}
