//! The binary: `mkat` serves, `mkat config` prints the settings.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["serve"] => mkat::run::serve(),
        ["config"] => mkat::run::print_config(),
        ["--version" | "version"] => {
            println!("mkat {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        other => {
            let known = matches!(other, ["help" | "--help"]);
            println!("usage: mkat [serve | config | version]\n\n{}", mkat::config::help());
            if known { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
    }
}
