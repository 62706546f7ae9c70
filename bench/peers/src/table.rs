//! Result lines into Markdown tables: the median over the rounds for each figure, beside MICS's own. Does no measuring.

use std::collections::BTreeMap;
use std::fmt::Write;

type Line<'a> = BTreeMap<&'a str, &'a str>;

const SERVERS: [(&str, &str); 4] =
    [("mics", "MICS"), ("socketio", "Socket.IO"), ("nchan", "Nchan"), ("bun", "Bun, no hook")];

fn parse(line: &str) -> Line<'_> {
    line.split_whitespace().filter_map(|field| field.split_once('=')).collect()
}

fn is(line: &Line<'_>, name: &str, value: &str) -> bool {
    line.get(name) == Some(&value)
}

fn figures(lines: &[&Line<'_>], name: &str) -> Vec<f64> {
    let mut figures: Vec<f64> = lines.iter().filter_map(|line| line.get(name)?.parse().ok()).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// Of an even number of figures, the lower of the middle two (noise of a machine only adds); NaN of none.
fn median(lines: &[&Line<'_>], name: &str) -> f64 {
    let figures = figures(lines, name);
    figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

fn sum(lines: &[&Line<'_>], name: &str) -> f64 {
    figures(lines, name).iter().sum()
}

/// `figure (ratio to MICS)`.
fn beside(figure: f64, mics: f64, digits: usize) -> String {
    if figure.is_nan() {
        return "-".into();
    }
    let own = format!("{figure:.digits$}");
    if mics.is_nan() || mics == 0.0 { own } else { format!("{own} ({:.1}x)", figure / mics) }
}

/// Rates in the order of their first line.
fn rates<'a>(lines: &[Line<'a>], kind: &str) -> Vec<&'a str> {
    let mut rates = Vec::new();
    for line in lines.iter().filter(|line| is(line, "kind", kind)) {
        let rate = line.get("rate").copied().unwrap_or_default();
        if !rates.contains(&rate) {
            rates.push(rate);
        }
    }
    rates.sort_by_key(|rate| rate.parse::<u64>().unwrap_or(0));
    rates
}

fn table(out: &mut String, lines: &[Line<'_>], kind: &str, head: &str, latencies: &[&str]) {
    let _ = write!(out, "{head}\n|{}\n", "---|".repeat(head.matches('|').count() - 1));
    for rate in rates(lines, kind) {
        let of = |server: &str| -> Vec<&Line<'_>> {
            lines.iter().filter(|l| is(l, "kind", kind) && is(l, "server", server) && is(l, "rate", rate)).collect()
        };
        let mics = of("mics");
        for (server, title) in SERVERS {
            let own = of(server);
            if own.is_empty() {
                continue;
            }
            let has_acks = matches!(server, "mics" | "socketio");
            let accepted = if has_acks { format!("{:.0}", sum(&own, "acked")) } else { "no acks".into() };
            // A check that MICS gave up after its 150 ms may still have reached the hook; a lost message may never have.
            let unchecked = (sum(&own, "unchecked") - sum(&own, "lost")).max(sum(&own, "degraded"));
            let unchecked = if server == "bun" { "all".into() } else { format!("{:.0}", unchecked + 0.0) };
            let books = ["sent", "delivered", "lost", "duplicates"].map(|name| sum(&own, name));
            let [sent, delivered, lost, duplicates] = books;
            let _ = write!(
                out,
                "| {rate} | {title} | {sent:.0} | {accepted} | {delivered:.0} | {lost:.0} | {duplicates:.0} | {unchecked} |"
            );
            for name in latencies {
                let _ = write!(out, " {} |", beside(median(&own, name), median(&mics, name), 2));
            }
            let _ = writeln!(out, " {} |", beside(median(&own, "cpu_ms") / 1e3, median(&mics, "cpu_ms") / 1e3, 3));
        }
    }
}

/// The whole report. Latencies in ms.
pub fn render(text: &str) -> String {
    let lines: Vec<Line<'_>> = text.lines().map(parse).collect();
    let mut out = String::new();
    table(
        &mut out,
        &lines,
        "chat",
        "| messages/s | server | sent | accepted | delivered | lost | duplicates | unchecked | p50 ms | p99 ms | max ms | CPU-s per 1,000 |",
        &["p50", "p99", "max"],
    );
    out.push('\n');
    table(
        &mut out,
        &lines,
        "group",
        "| messages/s | server | sent | accepted | delivered | lost | duplicates | unchecked | p50 ms | p99 ms | last member, median ms | last member, worst ms | CPU-s per 1,000 |",
        &["p50", "p99", "last50", "lastmax"],
    );
    let busy: Vec<&Line<'_>> = lines.iter().filter(|line| line.contains_key("others")).collect();
    let most = figures(&busy, "others").last().copied().unwrap_or(f64::NAN);
    let _ = writeln!(
        out,
        "\nCores used by the rest of the machine meanwhile: median {:.2}, most {most:.2}.",
        median(&busy, "others")
    );
    out.push_str("\n| server | bytes per idle connection | whole server with all of them, MB |\n|---|---|---|\n");
    let idle = |server: &str| -> Vec<&Line<'_>> {
        lines.iter().filter(|line| is(line, "kind", "idle") && is(line, "server", server)).collect()
    };
    let mics = idle("mics");
    for (server, title) in SERVERS {
        let own = idle(server);
        if own.is_empty() {
            continue;
        }
        let total = beside(median(&own, "total") / 1e6, median(&mics, "total") / 1e6, 1);
        let _ = writeln!(out, "| {title} | {} | {total} |", beside(median(&own, "bytes"), median(&mics, "bytes"), 0));
    }
    out
}
