//! What a server's processes cost: processor time and memory of a process and all its descendants, from /proc. Reads
//! only.

use std::collections::HashMap;
use std::fs;

/// Of one process: parent and ticks of processor time, user and system.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((fields.get(1)?.parse().ok()?, ticks))
}

/// `root` and its descendants, with their ticks.
fn family(root: u32) -> Vec<(u32, u64)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: HashMap<u32, (u32, u64)> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let belongs = |mut pid: u32| loop {
        match all.get(&pid) {
            _ if pid == root => return true,
            Some((parent, _)) => pid = *parent,
            None => return false,
        }
    };
    all.iter().filter(|(pid, _)| belongs(**pid)).map(|(pid, (_, ticks))| (*pid, *ticks)).collect()
}

/// Seconds of processor time used so far, in steps of 0.01 (100 ticks per second on Linux).
pub fn cpu_seconds(root: u32) -> f64 {
    family(root).iter().map(|(_, ticks)| *ticks as f64).sum::<f64>() / 100.0
}

/// The same for the whole machine, idle time left out.
pub fn machine_cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq; the rest is time of guests.
    let ticks: Vec<f64> = fields.take(7).filter_map(|field| field.parse().ok()).collect();
    ticks.iter().enumerate().filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, ticks)| ticks).sum::<f64>() / 100.0
}

/// Resident bytes; what processes share is counted once (Pss), which for a single process is its RSS.
pub fn resident_bytes(root: u32) -> f64 {
    let one = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        1024.0 * line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0)
    };
    family(root).iter().map(|(pid, _)| one(*pid)).sum()
}
