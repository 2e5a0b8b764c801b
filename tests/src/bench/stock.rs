//! Stock git: a scrubbed environment, and what one git process costs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::discard;
use crate::proc::waited_children_cpu;
use crate::{Result, proc};

/// A git host that checks pushes, serves filters and does not tidy up inside a measurement.
const CONFIG: &str = "[safe]\n\tdirectory = *\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n\
    [receive]\n\tautogc = false\n\tfsckObjects = true\n[uploadpack]\n\tallowFilter = true\n\
    [init]\n\tdefaultBranch = main\n[user]\n\tname = Bench\n\temail = bench@example.com\n";
/// How often the memory of a running git is looked at.
const RSS_SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// How to start git, whatever the caller's own configuration says.
pub struct Git {
    config: PathBuf,
}

/// What one or several runs cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub wall: Duration,
    /// Bytes of the answer.
    pub bytes: u64,
}

impl Usage {
    /// The share of one run, of `runs` that were measured together.
    pub fn per(self, runs: u32) -> Self {
        Self { cpu: self.cpu / runs, wall: self.wall / runs, bytes: self.bytes / u64::from(runs) }
    }
}

/// Where a git process gets its stdin from.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    Nothing,
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl Git {
    /// Writes the configuration that every git of this run sees.
    pub fn new(temp: &Path) -> Result<Self> {
        let config = temp.join("gitconfig");
        fs::write(&config, CONFIG)?;
        Ok(Self { config })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command.env("GIT_CONFIG_GLOBAL", &self.config).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_PROTOCOL", "version=2").env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        command.args(args);
        command
    }

    fn start(&self, args: &[&str], input: Input<'_>) -> Result<Child> {
        let stdin = match input {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) => Stdio::piped(),
            Input::File(path) => File::open(path)?.into(),
        };
        let mut command = self.command(args);
        Ok(command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// Runs git, feeds it `input` and hands its stdout to `read`. A failure carries git's own words.
    fn with_output<T>(
        &self,
        args: &[&str],
        input: Input<'_>,
        read: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        let mut child = self.start(args, input)?;
        let mut stdin = child.stdin.take();
        let mut stdout = child.stdout.take().ok_or("git has no stdout")?;
        let mut stderr = child.stderr.take().ok_or("git has no stderr")?;
        let (value, complaint) = std::thread::scope(|scope| {
            // Both ends at once: git answers before it has read everything.
            scope.spawn(move || {
                if let (Some(pipe), Input::Bytes(bytes)) = (stdin.as_mut(), input) {
                    // git may stop reading; its exit status tells whether that was right.
                    let _ = pipe.write_all(bytes);
                }
            });
            let complaint = scope.spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.read_to_end(&mut text);
                text
            });
            let value = read(&mut stdout);
            drop(stdout);
            (value, complaint.join().unwrap_or_default())
        });
        let status = child.wait()?;
        if !status.success() {
            let text = String::from_utf8_lossy(&complaint);
            let text = text.lines().last().unwrap_or_default();
            return Err(format!("git {} failed ({status}): {text}", args.join(" ")).into());
        }
        value
    }

    /// Runs git for its stdout.
    pub fn output(&self, args: &[&str], input: Input<'_>) -> Result<Vec<u8>> {
        self.with_output(args, input, |stdout| {
            let mut out = Vec::new();
            stdout.read_to_end(&mut out)?;
            Ok(out)
        })
    }

    /// Runs git for its stdout as text, without the last newline.
    pub fn text(&self, args: &[&str]) -> Result<String> {
        Ok(String::from_utf8(self.output(args, Input::Nothing)?)?.trim_end().to_owned())
    }

    /// Runs git with its stdout going to a file.
    pub fn to_file(&self, args: &[&str], input: Input<'_>, path: &Path) -> Result<()> {
        let mut file = File::create(path)?;
        self.with_output(args, input, |stdout| {
            std::io::copy(stdout, &mut file)?;
            Ok(())
        })
    }

    /// Runs git `runs` times, throws the answers away and says what one run costs, children included.
    ///
    /// No other child may be waited for meanwhile: the kernel keeps one sum for all of them.
    pub fn measure(&self, args: &[&str], input: Input<'_>, runs: u32) -> Result<Usage> {
        let cpu = waited_children_cpu()?;
        let began = Instant::now();
        let mut bytes = 0;
        for _ in 0..runs {
            bytes += self.with_output(args, input, |mut stdout| discard(&mut stdout))?;
        }
        let wall = began.elapsed();
        let cpu = waited_children_cpu()?.saturating_sub(cpu);
        Ok(Usage { cpu, wall, bytes }.per(runs))
    }

    /// Runs the same git several times at once; the most memory that all of them held together.
    pub fn peak_rss(&self, jobs: &[Vec<&str>], input: Input<'_>) -> Result<u64> {
        let mut children = Vec::new();
        for args in jobs {
            children.push(self.start(args, input)?);
        }
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        std::thread::scope(|scope| {
            let waits: Vec<_> =
                children.iter_mut().map(|child| scope.spawn(move || finish(child, input))).collect();
            let mut peak = 0;
            while !waits.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                peak = peak.max(pids.iter().map(|pid| proc::tree_rss_bytes(*pid)).sum());
                std::thread::sleep(RSS_SAMPLE_EVERY);
            }
            for wait in waits {
                wait.join().map_err(|_| "a waiting thread panicked")??;
            }
            Ok(peak)
        })
    }
}

/// Feeds and drains one child until it ends.
fn finish(child: &mut Child, input: Input<'_>) -> Result<()> {
    if let (Some(mut pipe), Input::Bytes(bytes)) = (child.stdin.take(), input) {
        pipe.write_all(bytes)?;
    }
    let mut stderr = child.stderr.take();
    let drain = std::thread::spawn(move || stderr.as_mut().map(discard));
    if let Some(stdout) = child.stdout.as_mut() {
        discard(stdout)?;
    }
    drop(drain.join());
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("git failed: {status}").into()) }
}
