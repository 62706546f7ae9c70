//! Starting: settings, generated password, wrong configuration.

use crate::support::{Folder, Mkat};
use reqwest::Method;
use std::process::Command;

fn mkat(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkat"));
    command.env_clear().env("MKAT_DB", folder.path().join("mkat.db")).env("MKAT_PORT", "0");
    command
}

#[test]
fn every_mistake_is_named_and_the_status_says_so() {
    let folder = Folder::new();
    let mut wrong = mkat(&folder);
    wrong
        .env("MKAT_PORT", "x")
        .env("MKAT_BASE_PATH", "no")
        .env("MKAT_PUBLIC_URL", "ftp://x")
        .env("MKAT_PASSWORD_FILE", "/none");
    for arguments in [vec![], vec!["config"]] {
        let output = wrong.args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        for name in ["MKAT_PORT", "MKAT_BASE_PATH", "MKAT_PUBLIC_URL", "MKAT_PASSWORD_FILE"] {
            assert!(text.contains(name), "{text}");
        }
    }
    assert!(!folder.path().join("mkat.db").exists());
}

#[test]
fn a_misspelled_setting_is_named() {
    let folder = Folder::new();
    let output =
        mkat(&folder).env("MKAT_PASWORD", "x").env("MKAT_DATABASE_PATH", "y.db").arg("config").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success());
    assert_eq!(text, "mkat: MKAT_PASWORD is no setting of mkat\n");
}

#[test]
fn config_prints_the_settings_without_secrets() {
    let folder = Folder::new();
    let output = mkat(&folder).env("MKAT_PASSWORD", "hush-hush").arg("config").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        text.contains("MKAT_PASSWORD=(set)") && text.contains("MKAT_BASE_PATH=/mkat") && !text.contains("hush"),
        "{text}"
    );
    assert_eq!(mkat(&folder).arg("nonsense").output().unwrap().status.code(), Some(2));
}

#[test]
fn a_port_in_use_ends_the_start_with_a_reason() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = mkat(&folder).env("MKAT_BIND", "127.0.0.1").env("MKAT_PORT", &port).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&port));
}

#[tokio::test]
async fn without_a_password_one_is_made_and_shown_once() {
    let folder = Folder::new();
    let errors = folder.path().join("stderr");
    let first = Mkat::start_logging_to(folder.clone(), &[("MKAT_PASSWORD", "")], &errors).await;
    let shown = std::fs::read_to_string(&errors).unwrap();
    let password = shown.split("password ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let try_it = |mkat: &Mkat| mkat.plain(Method::GET, "/api/v1/services").basic_auth("admin", Some(&password)).send();
    assert_eq!(try_it(&first).await.unwrap().status(), 200);
    first.kill();
    let second = Mkat::start_logging_to(folder.clone(), &[("MKAT_PASSWORD", "")], &errors).await;
    assert_eq!(std::fs::read_to_string(&errors).unwrap(), "", "not shown again");
    assert_eq!(try_it(&second).await.unwrap().status(), 200);
}
