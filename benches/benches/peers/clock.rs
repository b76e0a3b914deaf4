//! Rounds: the contenders in turns, and which turns count.
//!
//! Turns with more than one thread need the machine to themselves. The kernel reports how long all
//! processors were busy (/proc/stat) and how long this process ran. A turn in which other processes
//! took more than a tenth of the machine is discarded, counted, and repeated a few times. So the
//! threads of the remaining turns did run at the same time.

use crate::contender::{self, Contender};
use crate::go::{GO, Go};
use crate::scenario::Scenario;
use crate::{Options, live};
use std::time::{Duration, Instant};

/// The share of the machine that others may take during a turn of more than one thread.
const OTHERS: f64 = 0.1;

/// How often a turn is tried.
const TRIES: usize = 4;

/// The results of one contender in one scenario.
pub struct Figures {
    pub name: &'static str,
    /// Nanoseconds of one core per object; `None` for a round that does not count.
    pub ns: Vec<Option<f64>>,
    pub gets: u64,
    /// `None` if nothing counts them: blocks of other allocators.
    pub created: Option<u64>,
    /// Bytes per object.
    pub size: usize,
    /// Objects alive after all were returned and the threads had ended, and some seconds later.
    pub left: Option<u64>,
    pub later: Option<u64>,
    /// The share of objects that crossed threads in the last turn, if it was counted.
    pub crossed: Option<f64>,
}

impl Figures {
    fn new(name: &'static str, size: usize, counted: bool) -> Self {
        Self {
            name,
            ns: Vec::new(),
            gets: 0,
            created: counted.then_some(0),
            size,
            left: None,
            later: None,
            crossed: None,
        }
    }
}

pub struct Outcome {
    pub figures: Vec<Figures>,
    /// Turns discarded.
    pub thrown: usize,
}

pub fn measure(scenario: &Scenario, number: usize, go: Option<&Go>, options: &Options) -> Outcome {
    let single = Duration::from_millis(options.window);
    let window = if scenario.is_parallel() {
        3 * single
    } else {
        single
    };
    let contenders: Vec<Contender> = contender::all(*scenario, number)
        .into_iter()
        .filter(|contender| contender.fits(*scenario))
        .collect();
    let go = go.filter(|go| go.knows(scenario));
    let mut figures: Vec<Figures> = contenders
        .iter()
        .map(|one| Figures::new(one.name, one.size, one.is_counted(*scenario)))
        .chain(go.map(|_| Figures::new(GO, scenario.bytes(), *scenario != Scenario::First)))
        .collect();
    let alive: Vec<_> = contenders.iter().map(|one| live::alive(one.size)).collect();
    // A new contender is slow: a round that does not count.
    for contender in &contenders {
        contender.turn(*scenario, window / 4);
    }
    let mut thrown = 0;
    for round in 0..options.rounds {
        for step in 0..figures.len() {
            // Each round starts with a different one; every other round runs backwards.
            let step = if round % 2 == 0 {
                step
            } else {
                figures.len() - 1 - step
            };
            let which = (step + round / 2) % figures.len();
            let mut ns = None;
            for _ in 0..TRIES {
                let others = scenario.is_parallel().then(Others::start);
                let one = &mut figures[which];
                let (gets, created, elsewhere);
                match contenders.get(which) {
                    Some(contender) => {
                        let before = live::created(contender.size);
                        let turn = contender.turn(*scenario, window);
                        created = (live::created(contender.size) - before) as u64;
                        (gets, elsewhere) = (turn.gets, 0.0);
                        one.crossed = turn.crossed.or(one.crossed);
                        ns = Some(turn.ns());
                    }
                    None => {
                        let Some(turn) = go.and_then(|go| go.turn(scenario, window)) else {
                            break;
                        };
                        (gets, created, elsewhere) = (turn.gets, turn.created, turn.busy);
                        ns = Some(turn.ns);
                    }
                }
                one.gets += gets;
                one.created = one.created.map(|sum| sum + created);
                if others.is_none_or(|others| others.share(elsewhere) <= OTHERS) {
                    break;
                }
                thrown += 1;
                ns = None;
            }
            figures[which].ns.push(ns);
        }
    }
    let left = |contender: &Contender, before: usize| {
        Some(live::alive(contender.size).saturating_sub(before) as u64)
    };
    for (at, contender) in contenders.iter().enumerate() {
        figures[at].left = left(contender, alive[at]);
    }
    // Blocks and small objects of an allocator are not counted.
    if figures.iter().any(|one| one.created.is_some()) {
        std::thread::sleep(Duration::from_secs(options.wait));
    }
    for (at, contender) in contenders.iter().enumerate() {
        figures[at].later = left(contender, alive[at]);
    }
    Outcome { figures, thrown }
}

/// What other processes take of the machine.
struct Others {
    wall: Instant,
    all: Option<f64>,
    ours: f64,
}

impl Others {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            all: busy(),
            ours: ours(),
        }
    }

    /// Returns the share of all processors' time since the start. `elsewhere` is what one of our
    /// own programs took, in seconds. Returns nothing if the kernel does not report it.
    fn share(&self, elsewhere: f64) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let wall = self.wall.elapsed().as_secs_f64();
        match self.all.zip(busy()) {
            Some((before, after)) => {
                // The kernel counts in hundredths of a second per processor.
                let others = (after - before) - (ours() - self.ours) - elsewhere - 0.01 * cores;
                others.max(0.0) / (wall * cores)
            }
            None => 0.0,
        }
    }
}

/// Returns the seconds that all processors together have been busy.
fn busy() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .map_while(|one| one.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    let busy: f64 = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&at| ticks.get(at))
        .sum();
    Some(busy / 100.0)
}

/// Returns the seconds that this process has run, all threads together.
fn ours() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes only to the given place.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the clock is there on every Unix");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
