//! What the kernel says about a process: CPU time, resident memory, bytes on disk.
//!
//! Follows proc(5). Tick counters have a step of 10 ms; where the kernel keeps per-thread nanoseconds
//! (`task/*/schedstat`) those are taken instead, as long as no thread ended in between.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::Result;

/// `USER_HZ`: what the tick fields of `/proc/*/stat` count in, on every Linux that git runs on.
const TICKS_PER_SECOND: u64 = 100;
/// Beyond this disagreement between the two clocks a thread came and went unseen: ticks win.
const CLOCKS_APART_MAX: Duration = Duration::from_millis(40);

/// The CPU time a process has used so far.
pub struct CpuClock {
    ticks: Duration,
    threads: BTreeMap<u32, u64>,
}

impl CpuClock {
    /// Reads both clocks of a live process.
    pub fn read(pid: u32) -> Result<Self> {
        let ticks = stat_ticks(&format!("/proc/{pid}/stat"), 11)?;
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let spent = text.split(' ').next().and_then(|word| word.parse().ok());
            let tid = task.file_name().to_str().and_then(|name| name.parse().ok());
            if let (Some(tid), Some(spent)) = (tid, spent) {
                threads.insert(tid, spent);
            }
        }
        Ok(Self { ticks, threads })
    }

    /// CPU time used between `before` and `self`.
    pub fn since(&self, before: &Self) -> Duration {
        let ticks = self.ticks.saturating_sub(before.ticks);
        if self.threads.is_empty() || !before.threads.keys().all(|tid| self.threads.contains_key(tid)) {
            return ticks;
        }
        let sum = |threads: &BTreeMap<u32, u64>| threads.values().sum::<u64>();
        let fine = Duration::from_nanos(sum(&self.threads).saturating_sub(sum(&before.threads)));
        if fine.abs_diff(ticks) > CLOCKS_APART_MAX { ticks } else { fine }
    }
}

/// CPU time of all children of this process that were waited for, and of theirs.
pub fn waited_children_cpu() -> Result<Duration> {
    stat_ticks("/proc/self/stat", 13)
}

/// The sum of two neighbouring tick fields, counted from the one after the command name.
fn stat_ticks(path: &str, first: usize) -> Result<Duration> {
    let text = fs::read_to_string(path)?;
    // The command name may hold spaces and brackets; everything after the last bracket is numbers.
    let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = fields.split(' ').skip(first).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// A size line of `/proc/PID/status` (`VmHWM`, `VmRSS`), in bytes.
pub fn status_bytes(pid: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("no {name} for process {pid}"))? * 1024)
}

/// Resident bytes of a process and everything below it, right now. Gone processes count nothing.
pub fn tree_rss_bytes(root: u32) -> u64 {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = text.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&pid) = tree.get(at) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child));
        at += 1;
    }
    tree.iter().map(|pid| status_bytes(*pid, "VmRSS").unwrap_or(0)).sum()
}

/// Bytes allocated on disk and number of files below a folder.
pub fn disk_usage(folder: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut files) = (0, 0);
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            // A server may drop a journal while we look.
            let Ok(meta) = path.symlink_metadata() else {
                continue;
            };
            if meta.is_dir() {
                open.push(path);
            } else {
                bytes += meta.blocks() * 512;
                files += 1;
            }
        }
    }
    Ok((bytes, files))
}

/// The processor's name and how many of it this machine has.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} x {}, Linux {}", model.unwrap_or("unknown processor"), kernel.trim())
}
