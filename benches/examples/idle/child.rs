//! One variant, in its own process: load, return everything, park, and sample what is left.
//!
//! The report goes to the parent through stdout, one line per figure.

use crate::options::{Options, THREADS};
use crate::system;
use crate::variant::{self, Variant};
use repool::{Level, Pressure};
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Samples per second.
const RATE: u32 = 4;

/// One child's report.
pub(crate) struct Run {
    pub(crate) variant: Variant,
    /// Resident bytes when the threads existed and had taken nothing.
    pub(crate) before: u64,
    /// Resident bytes when all objects were out.
    pub(crate) peak: u64,
    pub(crate) samples: Vec<Sample>,
    /// What the allocator reported to be in use at the end.
    pub(crate) in_use: Option<u64>,
    /// Buffers that the pool did not accept.
    pub(crate) refused: u64,
    /// Whether memory was short at some time, which makes repool trim sooner.
    pub(crate) pressed: bool,
}

pub(crate) struct Sample {
    /// Seconds since the last object was returned.
    pub(crate) at: f64,
    pub(crate) idle: u64,
    pub(crate) rss: u64,
}

impl Run {
    /// The last sample that was due at that time.
    pub(crate) fn at(&self, second: u64) -> Option<&Sample> {
        self.samples.get(second as usize * RATE as usize)
    }
}

// ---------------------------------------------------------------- in the child

pub(crate) fn run(variant: Variant, options: &Options) -> Result<(), String> {
    // Leaked: the parked threads exist until the process ends.
    let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(THREADS + 1)));
    let objects = options.objects();
    for number in 0..THREADS {
        thread::Builder::new()
            .spawn(move || {
                barrier.wait();
                barrier.wait();
                variant.load(objects, || {
                    barrier.wait();
                    barrier.wait();
                });
                barrier.wait();
                loop {
                    thread::park();
                }
            })
            .map_err(|error| format!("cannot start thread {number}: {error}"))?;
    }
    barrier.wait(); // all there
    println!("before {}", system::rss()?);
    barrier.wait(); // take
    barrier.wait(); // all out
    println!("peak {}", system::rss()?);
    barrier.wait(); // give back
    barrier.wait(); // all back
    let start = Instant::now();

    let mut pressed = false;
    // Printed at the end, so that nothing else happens in between.
    let mut samples = Vec::with_capacity(RATE as usize * options.seconds as usize + 1);
    for tick in 0..=options.seconds as u32 * RATE {
        let due = Duration::from_secs(1) * tick / RATE;
        thread::sleep(due.saturating_sub(start.elapsed()));
        // Not at the first sample, which shows the state before the allocator is told.
        if tick % RATE == 0 && tick > 0 {
            pressed |= Pressure::system().level() != Level::Normal;
            if options.trims_allocator() {
                system::malloc_trim();
            }
        }
        samples.push((start.elapsed(), variant.idle_bytes(), system::rss()?));
    }
    for (at, idle, rss) in samples {
        println!("sample {} {idle} {rss}", at.as_secs_f64());
    }
    println!("pressed {pressed}");
    if let Some(bytes) = system::in_use() {
        println!("in_use {bytes}");
    }
    if variant == Variant::Repool {
        println!("refused {}", variant::refused());
    }
    Ok(())
}

// ---------------------------------------------------------------- in the parent

/// Runs a variant in its own process.
pub(crate) fn start(variant: Variant, options: &Options) -> Result<Run, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    let mut command = Command::new(program);
    command.args(options.for_child(variant));
    // Default settings, of the pool and of the allocator.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["REPOOL_", "MALLOC_", "GLIBC_TUNABLES"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    if let Some(arenas) = options.arenas {
        command.env("GLIBC_TUNABLES", format!("glibc.malloc.arena_max={arenas}"));
    }
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start a child: {error}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", variant.name(), output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    parse(variant, &text).ok_or_else(|| format!("{}: the report cannot be read", variant.name()))
}

fn parse(variant: Variant, text: &str) -> Option<Run> {
    let mut run = Run {
        variant,
        before: 0,
        peak: 0,
        samples: Vec::new(),
        in_use: None,
        refused: 0,
        pressed: false,
    };
    for line in text.lines() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["before", rss] => run.before = rss.parse().ok()?,
            ["peak", rss] => run.peak = rss.parse().ok()?,
            ["sample", at, idle, rss] => run.samples.push(Sample {
                at: at.parse().ok()?,
                idle: idle.parse().ok()?,
                rss: rss.parse().ok()?,
            }),
            ["in_use", bytes] => run.in_use = Some(bytes.parse().ok()?),
            ["refused", buffers] => run.refused = buffers.parse().ok()?,
            ["pressed", pressed] => run.pressed = pressed.parse().ok()?,
            _ => return None,
        }
    }
    (run.before > 0 && run.peak > 0 && !run.samples.is_empty()).then_some(run)
}
