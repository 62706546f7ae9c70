//! The load tester: opens many connections through the client SDK, sends on a fixed schedule and checks that every
//! message arrives once and in order. It knows a gateway only from outside and must not share code with it.
//!
//! Sending is open loop: the schedule does not wait for acks, and latency counts from the scheduled time, so a
//! gateway that stalls cannot hide its stall by slowing the tester down.

mod histogram;
mod live;
mod options;
mod pacer;
mod payload;
mod report;
mod tracker;
mod worker;

use live::Live;
use mics_client::{ConnectionState, MicsClient};
use options::{Mode, Options, Parsed};
use report::Report;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};
use worker::Seen;

/// Connection attempts under way at once: below the listen backlog of a usual server.
const CONNECTING: usize = 512;
/// How long outstanding acks and deliveries are waited for after the last send.
const SETTLE: Duration = Duration::from_secs(5);
/// Without known group members, this long without a delivery ends the wait.
const QUIET: Duration = Duration::from_secs(1);

/// What all parts of one run share.
pub(crate) struct Run {
    pub options: Options,
    /// None: the public authorities.
    pub tls: Option<Arc<ClientConfig>>,
    pub live: Live,
    /// Names this run in message ids and payloads, so that leftovers of another run are told apart.
    pub id: u64,
    /// Time zero of all times in payloads and ids.
    pub epoch: Instant,
    /// By connection index; none until connected.
    clients: Mutex<Vec<Option<MicsClient>>>,
    connecting: Semaphore,
}

impl Run {
    fn new(options: Options, tls: Option<Arc<ClientConfig>>) -> Self {
        let clients = vec![None; options.connections];
        Self {
            options,
            tls,
            live: Live::default(),
            id: rand::random(),
            epoch: Instant::now(),
            clients: Mutex::new(clients),
            connecting: Semaphore::new(CONNECTING),
        }
    }

    /// Microseconds since `epoch`.
    pub fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    fn set_client(&self, index: usize, client: MicsClient) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(client);
    }

    fn clients(&self) -> Vec<Option<MicsClient>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs `mics load` with the arguments after the sub-command. 0: everything passed; 1: something failed;
/// 2: wrong arguments.
pub fn run(args: Vec<String>) -> ExitCode {
    let options = match options::parse(&args) {
        Ok(Parsed::Run(options)) => *options,
        Ok(Parsed::Help) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let tls = match Some(&options.ca_file).filter(|path| !path.is_empty()).map(|path| trusting(path)).transpose() {
        Ok(tls) => tls,
        Err(error) => {
            eprintln!("--caFile {}: {error}", options.ca_file);
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("cannot start the runtime: {e}");
            return ExitCode::FAILURE;
        }
    };
    let report = runtime.block_on(drive(options, tls));
    print!("{}", report.render());
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Trusts the certificates of a file and no others. The error is one line for the user.
fn trusting(path: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each connection stands for a client of its own, who has no ticket of another's.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Ramp, traffic, settling, closing; then the verdict.
async fn drive(options: Options, tls: Option<Arc<ClientConfig>>) -> Report {
    let run = Arc::new(Run::new(options, tls));
    let progress = tokio::spawn(report::print_progress(run.clone()));
    let workers = ramp(&run).await;
    while run.live.attempts() < run.options.connections as u64 {
        sleep(Duration::from_millis(5)).await;
    }
    let traffic = Duration::from_secs_f64(run.options.warmup_seconds + run.options.duration_seconds);
    if run.live.ok.load(Relaxed) > 0 {
        let begin_us = run.now_us();
        if run.options.mode.sends() {
            send(&run, begin_us, traffic).await;
        } else {
            sleep(traffic).await;
        }
    }
    run.live.stopping.store(true, Relaxed);
    leave(&run).await;
    let mut seen = Vec::with_capacity(workers.len());
    for worker in workers {
        seen.push(worker.await.unwrap_or_default());
    }
    progress.abort();
    Report::new(&run, &seen)
}

/// Starts the connections, `ramp / connections` apart.
async fn ramp(run: &Arc<Run>) -> Vec<tokio::task::JoinHandle<Seen>> {
    let apart = run.options.ramp_seconds / run.options.connections as f64;
    let mut workers = Vec::with_capacity(run.options.connections);
    for index in 0..run.options.connections {
        if apart > 0.0 {
            sleep_until(run.epoch + Duration::from_secs_f64(apart * index as f64)).await;
        }
        workers.push(tokio::spawn(worker::connection(run.clone(), index)));
    }
    workers
}

/// Lets the pacer send for `traffic`, then waits until everything has arrived, at most `SETTLE`.
async fn send(run: &Arc<Run>, begin_us: u64, traffic: Duration) {
    run.live.measure_from_us.store(begin_us + (run.options.warmup_seconds * 1e6) as u64, Relaxed);
    let done = Arc::new(AtomicBool::new(false));
    let pacer = {
        let (run, done, clients) = (run.clone(), done.clone(), run.clients());
        std::thread::Builder::new().name("pacer".into()).spawn(move || {
            pacer::send_on_schedule(&run, &clients, begin_us, traffic);
            done.store(true, Relaxed);
        })
    };
    let Ok(pacer) = pacer else {
        run.live.note_error("cannot start the sending thread");
        return;
    };
    while !done.load(Relaxed) && !pacer.is_finished() {
        sleep(Duration::from_millis(5)).await;
    }
    let end = Instant::now() + SETTLE;
    let mut last = (0, Instant::now());
    while Instant::now() < end {
        let delivered = run.live.delivered.load(Relaxed);
        if delivered != last.0 {
            last = (delivered, Instant::now());
        }
        if is_settled(run, last.1.elapsed()) {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Nothing is outstanding any more; `quiet` is the time since the last delivery.
fn is_settled(run: &Run, quiet: Duration) -> bool {
    let live = &run.live;
    let acked = live.ack_ok.load(Relaxed);
    if acked + live.ack_fail.load(Relaxed) < live.send_ok.load(Relaxed) {
        return false;
    }
    let delivered = live.delivered.load(Relaxed);
    match run.options.mode {
        Mode::GroupChat if run.options.group_members == 0 => quiet >= QUIET,
        Mode::GroupChat => delivered >= acked * run.options.group_members as u64,
        _ => delivered >= acked,
    }
}

/// Disconnects all clients at once; their workers then end by themselves.
async fn leave(run: &Run) {
    let clients: Vec<MicsClient> = run.clients().into_iter().flatten().collect();
    let mut leaving = tokio::task::JoinSet::new();
    for client in clients {
        if client.state() != ConnectionState::Disconnected {
            leaving.spawn(async move { client.disconnect().await });
        }
    }
    while leaving.join_next().await.is_some() {}
}
