//! `mics dlq`: what lies in the tenants' dead-letter topics, and sending it again. Speaks to Kafka through `kafka` only.

mod options;
mod report;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mics_proto::hook::MqEvent;
use mics_proto::prost::Message;
use tokio::time::Instant;

use crate::config::{KafkaClientConfig, Source};
use crate::kafka::{Choice, Connection, Fate, Letter, LetterError, Letters, Replay, dead_letter_topic};
use options::{Filter, Options, Parsed, Task};
use report::{Fates, Summary};

const BAD_USAGE: u8 = 2;

/// Runs the command; exit code 0: done, 1: something failed, 2: wrong usage or configuration.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let parsed = options::parse(&arguments, now_ms());
    let (options, overrides) = match parsed {
        Ok(Parsed::Run(options, overrides)) => (options, overrides),
        Ok(Parsed::Help) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(problem) => return refuse(&format!("{problem}\n\n{}", options::USAGE)),
    };
    let config = match KafkaClientConfig::load(&Source::from_env().with_overrides(overrides)) {
        Ok((config, _)) => config,
        Err(errors) => return refuse(&errors.to_string()),
    };
    let connection = Connection {
        bootstrap: config.bootstrap_servers,
        client_id: format!("{}-dlq", config.node_id),
        properties: config.properties,
    };
    match execute(connection, &options, &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(LetterError::Setting(mistake)) => refuse(&mistake.to_string()),
        Err(error) => {
            eprintln!("mics dlq: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(BAD_USAGE)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn execute(connection: Connection, options: &Options, out: &mut impl Write) -> Result<(), LetterError> {
    let letters = Letters::open(connection)?;
    match &options.task {
        Task::List { records } => list(&letters, options, *records, out),
        Task::Replay { dry_run, again } => replay(&letters, options, *dry_run, *again, out),
    }
}

fn list(letters: &Letters, options: &Options, records: usize, out: &mut impl Write) -> Result<(), LetterError> {
    let tenants = if options.tenants.is_empty() { letters.tenants()? } else { options.tenants.clone() };
    let mut summaries = Vec::new();
    for tenant in tenants {
        let mut summary = Summary::new(&tenant, records);
        for partition in partitions(letters, &tenant)? {
            letters.read(&tenant, partition, |letter| {
                let event = read(&tenant, &letter);
                if matches(&options.filter, event.as_ref()) {
                    summary.add(&letter, event.as_ref());
                }
            })?;
        }
        summaries.push(summary);
    }
    let text = if options.json { report::list_json(&summaries) } else { report::list_text(&summaries, now_ms()) };
    // A closed pipe (`| head`) is no failure.
    let _ = out.write_all(text.as_bytes());
    Ok(())
}

/// None where there is no topic: said, since the tenant's name may be mistyped.
fn partitions(letters: &Letters, tenant: &str) -> Result<Vec<i32>, LetterError> {
    let found = letters.partitions(tenant)?;
    if found.is_none() {
        eprintln!("{tenant}: there is no topic {}", dead_letter_topic(tenant));
    }
    Ok(found.unwrap_or_default())
}

/// The event in the letter; `None` when it is none of this tenant's.
fn read(tenant: &str, letter: &Letter) -> Option<MqEvent> {
    MqEvent::decode(&letter.value[..]).ok().filter(|event| event.tenant_id == tenant)
}

/// Letters that nobody can read match only when nothing is asked for.
fn matches(filter: &Filter, event: Option<&MqEvent>) -> bool {
    match event {
        Some(event) => filter.takes(event.event_type, event.timestamp),
        None => filter.is_empty(),
    }
}

fn replay(
    letters: &Letters,
    options: &Options,
    dry_run: bool,
    again: bool,
    out: &mut impl Write,
) -> Result<(), LetterError> {
    let replay = Replay::new(letters)?;
    let mut result = Ok(());
    let mut all = Vec::new();
    for tenant in &options.tenants {
        let mut fates = Fates::new(tenant, dry_run);
        let mut progress = Progress::default();
        for partition in partitions(letters, tenant)? {
            result = replay_partition(&replay, tenant, partition, options, again, &mut fates, &mut progress);
            if result.is_err() {
                break;
            }
        }
        progress.end(&fates);
        all.push(fates);
        if result.is_err() {
            break;
        }
    }
    let stopped = result.as_ref().err().map(ToString::to_string);
    let text = if options.json { report::replay_json(&all, stopped.as_deref()) } else { report::replay_text(&all) };
    let _ = out.write_all(text.as_bytes());
    result
}

/// Each letter is counted once: either here when it is chosen not to be sent, or when its fate is told.
fn replay_partition(
    replay: &Replay<'_>,
    tenant: &str,
    partition: i32,
    options: &Options,
    again: bool,
    fates: &mut Fates,
    progress: &mut Progress,
) -> Result<(), LetterError> {
    let book = std::cell::RefCell::new((fates, progress));
    let choose = |letter: &Letter| {
        let (fates, progress) = &mut *book.borrow_mut();
        fates.read += 1;
        let event = read(tenant, letter);
        let choice = match event {
            None => {
                fates.unreadable += 1;
                Choice::Skip
            }
            Some(_) if letter.done && !again => {
                fates.already += 1;
                Choice::Skip
            }
            Some(event) if !options.filter.takes(event.event_type, event.timestamp) => {
                fates.not_asked_for += 1;
                Choice::Skip
            }
            Some(_) if fates.dry_run => {
                fates.would_replay += 1;
                Choice::Skip
            }
            Some(_) => Choice::Send,
        };
        progress.say(fates);
        choice
    };
    let tell = |_: &Letter, fate| {
        let (fates, _) = &mut *book.borrow_mut();
        match fate {
            Fate::Skipped => {}
            Fate::Sent => fates.replayed += 1,
            Fate::Failed => fates.failed += 1,
        }
    };
    replay.run(tenant, partition, choose, tell)
}

/// One line on stderr that grows old in place; a line every few seconds where that can't be.
#[derive(Default)]
struct Progress {
    said: Option<Instant>,
}

impl Progress {
    fn say(&mut self, fates: &Fates) {
        let terminal = std::io::stderr().is_terminal();
        let every = Duration::from_millis(if terminal { 200 } else { 5_000 });
        let now = Instant::now();
        let said = *self.said.get_or_insert(now);
        if now.duration_since(said) >= every {
            self.said = Some(now);
            eprint!("{}{}", fates.line(), if terminal { "\r" } else { "\n" });
        }
    }

    fn end(&self, fates: &Fates) {
        eprintln!("{}", fates.line());
    }
}
