//! What no compiler holds: who may depend on whom, where the actor framework may be used, and that documents and sources
//! stay clean. It reads the tree and must not build or start anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The direction of dependencies: (package, packages of this workspace that it may name, families that it must not).
/// A family is a package and all that begin with its name and a hyphen.
const DIRECTION: &[(&str, &[&str], &[&str])] = &[
    ("mics-proto", &[], &["actix", "tokio", "serde"]),
    ("mics-domain", &[], &["actix", "tokio", "serde", "prost", "tonic", "rdkafka", "redis", "awc"]),
    (
        "mics-actors",
        &["mics-proto", "mics-domain"],
        &["redis", "deadpool", "rdkafka", "tonic", "awc", "actix-web", "actix-http"],
    ),
    ("mics-client", &["mics-proto"], &["actix", "redis", "rdkafka", "tonic", "awc"]),
    ("mics-hook", &["mics-proto"], &["redis", "tonic", "awc"]),
    ("support-chat", &["mics-hook"], &[]),
    ("mkat", &[], &["mics", "tonic", "rdkafka", "redis"]),
    ("mics", &["mics-proto", "mics-domain", "mics-actors", "mics-client"], &[]),
];

/// Packages that the product promises to be built on.
const BUILT_ON: &[&str] = &[
    "actix",
    "actix-web",
    "actix-web-actors",
    "tonic",
    "prost",
    "deadpool-redis",
    "rdkafka",
    "awc",
    "hmac",
    "tracing-actix-web",
    "actix-web-prom",
];

/// Package to the packages it names, of every kind.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(ROOT);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
    };
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (package["name"].as_str().unwrap().to_owned(), names(package))).collect()
}

fn in_family(package: &str, family: &str) -> bool {
    package.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Every file of the repository with its path from the root; what `.gitignore` names is left out.
fn files() -> Vec<(String, PathBuf)> {
    let ignored = fs::read_to_string(Path::new(ROOT).join(".gitignore")).unwrap();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim().trim_matches('/')).collect();
    let skipped = |name: &str| {
        let matches = |pattern: &str| pattern.strip_prefix('*').map_or(pattern == name, |end| name.ends_with(end));
        name == ".git" || ignored.iter().any(|pattern| !pattern.is_empty() && matches(pattern))
    };
    let (mut folders, mut found) = (vec![PathBuf::from(ROOT)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if skipped(&entry.file_name().to_string_lossy()) {
                continue;
            }
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => {
                    let relative = entry.path().strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
                    found.push((relative, entry.path()));
                }
                _ => {}
            }
        }
    }
    assert!(found.len() > 50, "the walk found {} files", found.len());
    found
}

/// `path:line: text` of every line of text files that `wrong` holds against its file.
fn lines_where(wrong: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (name, path) in files() {
        // Files that are no text have nothing to say here.
        let Ok(text) = fs::read_to_string(path) else { continue };
        let lines = text.lines().enumerate().filter(|(_, line)| wrong(&name, line));
        found.extend(lines.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim())));
    }
    found
}

/// `line` names the crate `name` in a path: `name::` with no longer name around it.
fn names_crate<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let at = line.match_indices(name).find(|(at, _)| {
        let before = line[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && line[at + name.len()..].starts_with("::")
    })?;
    Some(&line[at.0 + name.len() + 2..])
}

/// A path from the root of a machine that begins with `folder`, such as a home folder.
fn names_folder(line: &str, folder: &str) -> bool {
    let start = format!("/{folder}/");
    line.match_indices(&start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}])*".contains(c))
    })
}

#[test]
fn dependencies_point_one_way() {
    let packages = dependencies();
    let listed: BTreeSet<&str> = DIRECTION.iter().map(|row| row.0).collect();
    let present: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(present, listed, "each package of the workspace has its row in DIRECTION");
    for (package, allowed, banned) in DIRECTION {
        for dependency in &packages[*package] {
            let own = in_family(dependency, "mics");
            assert!(!own || allowed.contains(&dependency.as_str()), "{package} must not name {dependency}");
            let hit = banned.iter().find(|family| in_family(dependency, family));
            assert!(hit.is_none(), "{package} must not name {dependency}");
        }
    }
}

#[test]
fn what_the_product_is_built_on_is_named() {
    let named: BTreeSet<String> = dependencies().into_values().flatten().collect();
    for package in BUILT_ON {
        assert!(named.contains(*package), "{package} is not named by any package");
    }
}

#[test]
fn the_actor_framework_stays_in_its_files() {
    let found = lines_where(|name, line| {
        let runtime = name.starts_with("actors/runtime/src/") && name.ends_with(".rs");
        if !runtime || line.trim_start().starts_with("//") {
            return false;
        }
        let actors = name.ends_with("/actor.rs") || name.ends_with("/mailbox.rs") || name.ends_with("/node/root.rs");
        let runs_threads = actors || name == "actors/runtime/src/node.rs";
        // Anyone may start a task; threads and systems are for those that run actors.
        let spawns = |rest: &str| rest.starts_with("spawn(") || rest.starts_with("test");
        (!actors && names_crate(line, "actix").is_some())
            || (!runs_threads && names_crate(line, "actix_rt").is_some_and(|rest| !spawns(rest)))
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_source_file_says_why_it_exists() {
    let sources = files().into_iter().filter(|(name, _)| name.ends_with(".rs"));
    let silent: Vec<String> =
        sources.filter(|(_, path)| !fs::read_to_string(path).unwrap().starts_with("//! ")).map(|file| file.0).collect();
    assert!(silent.is_empty(), "no `//!` line at the top: {silent:#?}");
}

#[test]
fn the_page_of_codes_equals_the_code() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/errors.md")).unwrap();
    assert!(page == mics::docs::errors(), "docs/errors.md is out of date: write the output of `mics errors` to it");
}

#[test]
fn nothing_unfinished_is_left() {
    // Joined here, so that this file does not find itself.
    let marks = [["FIX", "ME"].concat(), ["dbg", "!("].concat()];
    let found = lines_where(|_, line| marks.iter().any(|mark| line.contains(mark)));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let registries = [["crates", ".io"].concat(), ["npmjs", ".org"].concat(), ["pypi", ".org"].concat()];
    let index = format!("registry+https://github.com/rust-lang/{}-index", registries[0]);
    let found = lines_where(|name, line| {
        let registry = registries.iter().any(|host| line.contains(host));
        let lock_line = name.ends_with("Cargo.lock") && line.contains(&index);
        (registry && !lock_line) || names_folder(line, "root") || names_folder(line, "work")
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_searches_find_what_they_look_for() {
    assert_eq!(names_crate("use actix::prelude::*;", "actix"), Some("prelude::*;"));
    assert_eq!(names_crate("actix_rt::spawn(task)", "actix"), None);
    assert_eq!(names_crate("let x = my_actix::f();", "actix"), None);
    assert_eq!(names_crate("drop(actix_rt::Arbiter::new())", "actix_rt"), Some("Arbiter::new())"));
    let home = ["/ro", "ot/x"].concat();
    assert!(names_folder(&home, "root") && names_folder(&format!("cd {home}"), "root"));
    assert!(!names_folder(&format!("tests{home}"), "root"));
    assert!(in_family("tokio-util", "tokio") && in_family("tokio", "tokio") && !in_family("tokiox", "tokio"));
}
