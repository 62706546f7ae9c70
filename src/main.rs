//! The `mics` binary: picks a command, reads its configuration, runs it, says how it ended.

use std::process::ExitCode;

use actix_rt::System;
use mics::config::{GatewayConfig, HookMockConfig, Mode, Source};
use mics::{admin_cli, config, dlq, docs, gateway, hookmock, load, logs};

/// Gives memory back when connections leave, which the system's allocator does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "\
mics - multi-tenant, zero-storage WebSocket messaging gateway

  mics dev        try it: gateway, hook mock and a chat page on http://localhost:8080/
  mics gateway    serve tenants; configured by environment variables
  mics hookmock   a mock of a tenant's back end
  mics load       load tester (mics load --help)
  mics admin      look at and act on running nodes (mics admin --help)
  mics dlq        list and replay dead letters (mics dlq --help)
  mics config     print every variable with type, default, range and effect
  mics errors     print every code and reason that a client can meet
";

/// Wrong configuration or usage.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match command.as_str() {
        "dev" => gateway(Mode::Dev, rest),
        "gateway" => gateway(Mode::Gateway, rest),
        "hookmock" => hook_mock(rest),
        "load" => load::run(rest),
        "admin" => admin_cli::run(rest),
        "dlq" => dlq::run(rest),
        "config" => print(&config::markdown()),
        "errors" => print(&docs::errors()),
        "help" | "--help" | "-h" => print(USAGE),
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(BAD_USAGE)
        }
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    // A closed pipe (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// `--NAME=value` overrides the environment.
fn source(arguments: Vec<String>) -> Result<Source, ExitCode> {
    let mut overrides = Vec::new();
    for argument in arguments {
        match argument.strip_prefix("--").and_then(|pair| pair.split_once('=')) {
            Some((name, value)) => overrides.push((name.to_owned(), value.to_owned())),
            None => return Err(refuse(&format!("`{argument}` is not --NAME=value"))),
        }
    }
    Ok(Source::from_env().with_overrides(overrides))
}

fn refuse(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(BAD_USAGE)
}

fn gateway(mode: Mode, arguments: Vec<String>) -> ExitCode {
    let source = match source(arguments) {
        // People read the logs of `dev`, machines the others'.
        Ok(source) if mode == Mode::Dev => source.with_defaults([("LOG_FORMAT", "text"), ("LOG_LEVEL", "warn")]),
        Ok(source) => source,
        Err(code) => return code,
    };
    let (config, warnings) = match GatewayConfig::load(&source, mode) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(&errors.to_string()),
    };
    if let Err(error) = logs::init(config.log_format, &config.log_level, &config.node_id) {
        return refuse(&error.to_string());
    }
    for warning in warnings {
        tracing::warn!("config: {warning}");
    }
    System::new().block_on(async {
        let running = match gateway::start(&config, mode, source) {
            Ok(running) => running,
            Err(error) => return refuse(&error.to_string()),
        };
        if mode == Mode::Dev {
            println!("\n  MICS is ready: http://localhost:{}/  (open it in two tabs)\n", running.address.port());
        }
        tracing::info!(address = %running.address, tls = running.tls.map(tracing::field::display), "listening");
        running.reloader.watch();
        let code = tokio::select! {
            () = stop_signal() => ExitCode::SUCCESS,
            () = running.node.gave_up() => ExitCode::FAILURE,
        };
        running.stop().await;
        code
    })
}

fn hook_mock(arguments: Vec<String>) -> ExitCode {
    let source = match source(arguments) {
        Ok(source) => source,
        Err(code) => return code,
    };
    let config = match HookMockConfig::load(&source) {
        Ok((config, _)) => config,
        Err(errors) => return refuse(&errors.to_string()),
    };
    System::new().block_on(async {
        let address = std::net::SocketAddr::from(([0u16; 8], config.port));
        let listener = match mics::http::listener::bind(address) {
            Ok(listener) => listener,
            Err(error) => return refuse(&format!("can't listen on {address}: {error}")),
        };
        println!("MICS hook mock on port {}", config.port);
        let tenant = hookmock::MockTenant::new(config.into());
        match hookmock::run(tenant, listener, 1, stop_signal()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error.to_string()),
        }
    })
}

/// Ends with SIGTERM or SIGINT.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
