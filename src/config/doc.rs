//! `docs/config.md`, written from the table that the code reads. It must not say anything about a variable that the table does not.

use std::fmt::Write;

use super::vars::{Area, FILE_VAR, HOOK_MOCK_VARS, Kind, VARS, Var};

const INTRODUCTION: &str = "\
# Configuration

This page is printed by `mics config` from the table that the program reads.

* Values come from `--NAME=value`, then the environment, then the file that `MICS_CONFIG_FILE` names. The earlier wins.
* Names are case-insensitive, and `:` may be written for `__`. An empty value means the default, and hides the value of the file.
* A number outside its range is moved to the nearest bound, with a warning. Anything else that cannot be read is a mistake: all mistakes
  are reported at once, one line each, and the process exits with code 2. Secrets are shown as `***`.
* A map is a JSON object (`{\"t1\":\"http://localhost:8081\"}`), single entries named `<name>__<key>` (`Tenants__AuthMap__t1`), or a table
  of the file. The JSON form in the environment replaces the file's map; single entries are laid over it.
* Unknown names in the environment are ignored; in the file they give a warning.
* The time-out of hooks is 150 ms and cannot be changed.
";

/// The whole page, ending with one newline.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let _ = writeln!(page, "\n`{}`: {}", FILE_VAR.0, FILE_VAR.1);
    page.push_str("\n## `mics gateway`, `mics dev`\n");
    for (area, title) in Area::GATEWAY {
        let _ = writeln!(page, "\n### {title}\n");
        table(&mut page, VARS.iter().filter(|var| var.area == *area));
    }
    page.push_str("\n## `mics hookmock`\n\n");
    table(&mut page, HOOK_MOCK_VARS.iter());
    page
}

fn table<'a>(page: &mut String, vars: impl Iterator<Item = &'a Var>) {
    page.push_str("| name | type | default | range | unit | effect |\n|---|---|---|---|---|---|\n");
    for var in vars {
        let default = if var.default.is_empty() { String::new() } else { format!("`{}`", cell(var.default)) };
        let (kind, range) = kind_and_range(var);
        let names = std::iter::once(&var.name)
            .chain(var.aliases)
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = writeln!(page, "| {names} | {kind} | {default} | {range} | {} | {} |", var.unit, cell(var.effect));
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn kind_and_range(var: &Var) -> (String, String) {
    let (kind, range) = match var.kind {
        Kind::Int { min, max } => ("int", format!("{}..{}", grouped(min), grouped(max))),
        Kind::Port => ("int", "0..65535, else an error".to_owned()),
        Kind::PositiveOrDefault => ("int", "<= 0 means the default".to_owned()),
        Kind::OptionalPositive => ("int", "<= 0 is ignored".to_owned()),
        Kind::OptionalNonNegative => ("int", "< 0 is ignored".to_owned()),
        Kind::Bool | Kind::OptionalBool => ("bool", "true, false".to_owned()),
        Kind::Text | Kind::Secret => ("string", String::new()),
        Kind::Url => ("URL", "absolute http or https".to_owned()),
        Kind::Choice { words, strict } => ("word", words.join(", ") + if strict { ", else an error" } else { "" }),
        Kind::Level => ("level", String::new()),
        Kind::List => ("list", "comma separated".to_owned()),
        Kind::Properties => return ("strings named `<name>_...`".to_owned(), String::new()),
        Kind::Map { of, .. } => return (format!("map string -> {of}"), String::new()),
    };
    (kind.to_owned(), range)
}

/// `50 000` for 50000.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
