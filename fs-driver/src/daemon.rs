//! The processes of a mount: a supervisor that outlives who started it, and the daemon that serves, which it starts again
//! should it die. What happens is told to the starter in lines of JSON.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, setsid};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::Record;
use crate::gitdir::layout::view_of;
use crate::limits::{RESTART_CALM, RESTARTS_MAX};
use crate::mount::{clear_stale, run};
use crate::mount_log;
use crate::registry::{self, Phase};
use crate::repo::Mounted;

/// What the starter is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It is mounted: this commit.
    Ready(String),
    /// It is not to be mounted, for this reason.
    Failed(String),
}

fn tell(event: &Event) {
    let mut out = io::stdout().lock();
    let line = serde_json::to_string(event).unwrap_or_default();
    // Who asked may be gone by now.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Starts the supervisor of the mount whose record is in `state`.
pub fn start(program: &Path, state: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("supervise").arg(state).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(mount_log::open(state)?);
    command.spawn()
}

/// Waits until the mount is ready, or not to be had.
pub fn wait_ready(child: &mut Child) -> io::Result<String> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the supervisor has no output"))?;
    for line in BufReader::new(stdout).lines() {
        match serde_json::from_str(&line?) {
            Ok(Event::Ready(commit)) => return Ok(commit),
            Ok(Event::Failed(why)) => return Err(io::Error::other(why)),
            Err(_) => {}
        }
    }
    Err(io::Error::other("the daemon died before it was ready"))
}

/// Serves the mount whose record is in `state`, in this process.
pub fn serve(program: &Path, state: &Path) -> io::Result<()> {
    let mut is_ready = |mounted: &Mounted| {
        // A mount that serves tells by itself how it is: its answer comes before what the file says.
        let _ = registry::set_phase(state, None);
        tell(&Event::Ready(mounted.commit.clone()));
    };
    let about = state.to_owned();
    let failed = move |error: &io::Error| {
        // Without it, what is known is that the processes ended.
        let _ = registry::set_phase(&about, Some(&Phase::Failed(error.to_string())));
        tell(&Event::Failed(error.to_string()));
    };
    let outcome = mount_log::install(state)
        .and_then(|()| Record::load(state))
        .and_then(|record| run(record, program, &mut is_ready, Box::new(failed.clone())));
    outcome.inspect_err(failed)
}

/// Keeps a daemon running until it ends well.
pub fn supervise(program: &Path, state: &Path) -> io::Result<()> {
    // Fails only where this is a leader already.
    let _ = setsid();
    let record = Record::load(state)?;
    registry::set_phase(state, Some(&Phase::Preparing(std::process::id())))?;
    let is_stopping = Arc::new(AtomicBool::new(false));
    let daemon = Arc::new(AtomicU32::new(0));
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (stopping, current) = (Arc::clone(&is_stopping), Arc::clone(&daemon));
    thread::spawn(move || {
        for _ in signals.forever() {
            stopping.store(true, Ordering::SeqCst);
            pass_on(current.load(Ordering::SeqCst));
        }
    });
    let mut deaths = 0;
    loop {
        let started = Instant::now();
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg(state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(mount_log::open(state)?);
        let mut child = command.spawn()?;
        daemon.store(child.id(), Ordering::SeqCst);
        if is_stopping.load(Ordering::SeqCst) {
            pass_on(child.id());
        }
        let was_ready = forward(&mut child);
        let status = child.wait()?;
        daemon.store(0, Ordering::SeqCst);
        if status.success() || is_stopping.load(Ordering::SeqCst) {
            return clear_all(&record);
        }
        deaths = if started.elapsed() > RESTART_CALM { 1 } else { deaths + 1 };
        if !was_ready && deaths == 1 || deaths > RESTARTS_MAX {
            clear_all(&record)?;
            return Err(io::Error::other(format!("the daemon ended with {status}")));
        }
        eprintln!("the daemon ended with {status}, and is started again");
    }
}

fn clear_all(record: &Record) -> io::Result<()> {
    clear_stale(&view_of(&record.state()))?;
    clear_stale(&record.dir)
}

/// Asks a process to end.
pub fn pass_on(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // Gone already: then there is nothing to end.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Passes the daemon's events on until it closes its output. Answers whether it was ready.
fn forward(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else { return false };
    let mut was_ready = false;
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Ok(event) = serde_json::from_str::<Event>(&line) {
            was_ready |= matches!(event, Event::Ready(_));
            tell(&event);
        }
    }
    was_ready
}
