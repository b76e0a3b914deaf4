//! A simulation of many cores at a depot.
//!
//! A core works for a while, then requests a depot's lock as the pool does: it tries, and after
//! each failed try it pauses twice as long, up to 64 pauses; then it yields; after 64 tries it
//! gives up. The holder keeps the lock longer if another core had it before. Times vary by a fifth,
//! evenly distributed.
//!
//! Two of these times cannot be measured in isolation: how long the lock is held when it comes from
//! another core, and what else an exchange costs then. They are chosen so that two simulated cores
//! behave as two real ones did, in each row of [`crate::parts::Contended`]. Then half of the cores
//! get lists of 64 and half return them, and the work between two exchanges is that of 64 objects
//! that cross.
//!
//! With more than one depot, a core returns to the depot of its own number and takes from it; if
//! that is empty, it asks the next one, at the price of one cache line each.

use crate::parts::{LIST, Parts};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

const TRIES: u32 = 64;
/// Below this many tries a core pauses; then it yields.
const PAUSES: u32 = 7;

/// The parts of an exchange, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Costs {
    /// Holding the lock, if this core had it before, and if another one had it.
    held: f64,
    held_moved: f64,
    /// What else an exchange costs if another core had the depot before.
    moved: f64,
    line: f64,
    pause: f64,
    yielded: f64,
}

#[derive(Clone, Copy, Debug)]
struct Machine {
    cores: usize,
    depots: usize,
    /// From the end of one exchange to the start of the next.
    work: f64,
    /// Whether half of the cores only take and half only return; otherwise each does both in turn.
    crossing: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    /// Nanoseconds of one core from one exchange to the next.
    cycle: f64,
    /// The share of exchanges that did not get a lock in time.
    without: f64,
}

/// A core that tries to get a lock at this time.
struct Event {
    at: f64,
    core: usize,
    tries: u32,
    /// How many depots it has found empty.
    probed: usize,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at
            .total_cmp(&other.at)
            .then(self.core.cmp(&other.core))
    }
}

struct Depot {
    held_until: f64,
    last: usize,
    lists: usize,
}

/// The same numbers in each run (Steele and others, "Fast splittable pseudorandom number
/// generators", 2014).
struct Random(u64);

impl Random {
    /// From 0.8 to 1.2.
    fn about_one(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        0.8 + 0.4 * (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn simulate(machine: Machine, costs: Costs, exchanges: usize) -> Outcome {
    let Machine {
        cores,
        depots,
        work,
        crossing,
    } = machine;
    let mut random = Random(1);
    let mut stock: Vec<Depot> = (0..depots)
        .map(|_| Depot {
            held_until: 0.0,
            last: usize::MAX,
            lists: 8 * cores.div_ceil(depots),
        })
        .collect();
    let mut events: BinaryHeap<Reverse<Event>> = (0..cores)
        .map(|core| {
            Reverse(Event {
                at: work * random.about_one() * (core as f64 / cores as f64),
                core,
                tries: 0,
                probed: 0,
            })
        })
        .collect();
    let mut takes: Vec<bool> = (0..cores)
        .map(|core| {
            if crossing {
                core < cores / 2
            } else {
                core % 2 == 0
            }
        })
        .collect();
    // The first tenth is not counted: locks and stocks reach their usual state.
    let all = exchanges * cores;
    let (mut done, mut without, mut from, mut until) = (0, 0, 0.0, 0.0);
    while done < all {
        let Some(Reverse(mut event)) = events.pop() else {
            break;
        };
        let core = event.core;
        let depot = &mut stock[(core + event.probed) % depots];
        let take = takes[core];
        let next = if take && depot.lists == 0 {
            // The next one; if all are empty, a consumer waits for its producer.
            event.probed = (event.probed + 1) % depots;
            event.at += if event.probed == 0 {
                work / 4.0
            } else {
                costs.line
            };
            events.push(Reverse(event));
            continue;
        } else if depot.held_until > event.at {
            event.tries += 1;
            if event.tries < TRIES {
                event.at += if event.tries <= PAUSES {
                    f64::from(1 << (event.tries - 1)) * costs.pause
                } else {
                    costs.yielded
                };
                events.push(Reverse(event));
                continue;
            }
            without += 1;
            event.at
        } else {
            let own = depot.last == core;
            depot.held_until = event.at + if own { costs.held } else { costs.held_moved };
            depot.last = core;
            if take {
                depot.lists -= 1;
            } else {
                depot.lists += 1;
            }
            depot.held_until + if own { 0.0 } else { costs.moved }
        };
        if !crossing {
            takes[core] = !take;
        }
        done += 1;
        if done == all / 10 {
            (from, without) = (next, 0);
        }
        until = next;
        events.push(Reverse(Event {
            at: next + work * random.about_one(),
            core,
            tries: 0,
            probed: 0,
        }));
    }
    let counted = (all - all / 10) as f64;
    Outcome {
        cycle: (until - from) * cores as f64 / counted,
        without: f64::from(without) / counted,
    }
}

/// Two cores as measured: what an exchange takes there, by the work before it.
fn two_cores(parts: &Parts, costs: Costs) -> Vec<(f64, f64, f64)> {
    parts
        .contended
        .iter()
        .filter_map(|one| {
            let (apart, shared) = (one.apart?, one.shared?);
            let machine = Machine {
                cores: 2,
                depots: 1,
                work: (apart.median - costs.held).max(0.0),
                crossing: false,
            };
            let cycle = simulate(machine, costs, 2_000).cycle;
            Some((one.between, shared.median, cycle))
        })
        .collect()
}

/// Returns the costs with which two simulated cores come closest to two real ones.
fn calibrated(parts: &Parts) -> Option<Costs> {
    let line = parts.line?.median;
    let alone = parts.contended.first()?.alone.median;
    let at = |held_moved: f64, moved: f64| Costs {
        held: (alone / 2.0).min(held_moved),
        held_moved,
        moved,
        line,
        pause: parts.pause.median,
        yielded: parts.yielded.median,
    };
    let error = |costs: Costs| -> f64 {
        let rows = two_cores(parts, costs);
        rows.iter()
            .map(|(_, real, cycle)| (cycle / real).ln().powi(2))
            .sum()
    };
    let step = line / 4.0;
    let grid = (0..24).flat_map(|held| (0..24).map(move |moved| (held, moved)));
    grid.map(|(held, moved)| {
        at(
            f64::from(held) * step + alone / 2.0,
            f64::from(moved) * step,
        )
    })
    .map(|costs| (error(costs), costs))
    .min_by(|one, other| one.0.total_cmp(&other.0))
    .map(|(_, costs)| costs)
}

/// One panel of the chart: objects that cross per microsecond, by cores.
pub(crate) struct Panel {
    pub(crate) title: String,
    /// By number of depots.
    pub(crate) lines: Vec<(usize, Vec<(f64, f64)>)>,
    /// What as many cores did if none waited for another.
    pub(crate) linear: Vec<(f64, f64)>,
}

const CORES: [usize; 9] = [2, 4, 8, 16, 32, 64, 96, 128, 256];
const DEPOTS: [usize; 5] = [1, 2, 4, 8, 16];
/// Nanoseconds that the program itself spends on each object, on either side.
const OWN_WORK: [f64; 4] = [0.0, 30.0, 100.0, 1000.0];
/// One depot is enough while it reaches this share of what unhindered cores would do.
const ENOUGH: f64 = 0.9;

pub(crate) fn run(parts: &Parts) -> Vec<Panel> {
    let (Some(costs), Some([crossing, _])) = (calibrated(parts), parts.crossing) else {
        println!("No model: two threads never ran at once here, so nothing is known of more.");
        return Vec::new();
    };
    println!("The model\n");
    println!(
        "  lock held for {:.0} ns, {:.0} ns when it comes from another core, which costs {:.0} ns besides; \
         pause {:.1} ns, yield {:.0} ns",
        costs.held, costs.held_moved, costs.moved, costs.pause, costs.yielded
    );
    println!("  two cores, exchanges of one object:");
    println!("{:>10}{:>12}{:>12}", "work", "measured", "simulated");
    for (between, real, cycle) in two_cores(parts, costs) {
        println!("{between:>10.0}{real:>12.0}{cycle:>12.0}");
    }
    // The two sides of an object that crosses.
    let side = crossing.median / 2.0;
    let panels = OWN_WORK
        .iter()
        .map(|&own| panel(own, side, costs))
        .collect();
    println!(
        "\n  One depot does {:.0} % of what unhindered cores would, up to",
        100.0 * ENOUGH
    );
    for own in OWN_WORK {
        let near = limit(own, side, costs, 1);
        let far = Costs {
            held_moved: costs.held_moved + 2.0 * (costs.held_moved - costs.held).max(costs.line),
            moved: 3.0 * costs.moved,
            line: 3.0 * costs.line,
            ..costs
        };
        println!(
            "    {near:>4} cores with {own:>4.0} ns of the program's own work on an object at each side \
             ({} if lines take three times as long)",
            limit(own, side, far, 1)
        );
    }
    println!("  and so many depots for");
    for own in OWN_WORK {
        print!("   ");
        for cores in [64, 256] {
            let depots = (0..=8)
                .map(|power| 1 << power)
                .find(|&depots| share(own, side, costs, cores, depots).0 >= ENOUGH);
            match depots {
                Some(depots) => print!(" {depots:>4} for {cores} cores"),
                None => print!(" more than 256 for {cores} cores"),
            }
        }
        println!(" with {own:.0} ns");
    }
    panels
}

/// Returns the most cores for which this many depots are enough.
fn limit(own: f64, side: f64, costs: Costs, depots: usize) -> usize {
    // If it is enough for n, it is enough for fewer.
    let enough = |cores: &usize| share(own, side, costs, *cores, depots).0 >= ENOUGH;
    let (mut low, mut high) = (2, 1024);
    if enough(&high) {
        return high;
    }
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        if enough(&middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The work done, as a share of what unhindered cores would do, and the exchanges without a lock.
fn share(own: f64, side: f64, costs: Costs, cores: usize, depots: usize) -> (f64, f64) {
    let machine = Machine {
        cores,
        depots,
        work: LIST as f64 * (side + own),
        crossing: true,
    };
    let exchanges = (200_000 / cores).clamp(1_000, 20_000);
    let outcome = simulate(machine, costs, exchanges);
    let unhindered = machine.work + costs.held_moved + costs.moved;
    let served = unhindered / outcome.cycle * (1.0 - outcome.without);
    (served.min(1.0), outcome.without)
}

fn panel(own: f64, side: f64, costs: Costs) -> Panel {
    println!(
        "\n  share of what unhindered cores would do, {own:.0} ns of own work on each object at each side:"
    );
    print!("{:>10}", "cores");
    DEPOTS.iter().for_each(|depots| {
        let title = if *depots == 1 {
            "1 depot".to_owned()
        } else {
            format!("{depots} depots")
        };
        print!("{title:>12}");
    });
    println!();
    let mut lines: Vec<(usize, Vec<(f64, f64)>)> = DEPOTS.map(|depots| (depots, Vec::new())).into();
    let unhindered = |cores: usize| {
        let cycle = LIST as f64 * (side + own) + costs.held_moved + costs.moved;
        // Half of the cores get.
        cores as f64 / 2.0 * LIST as f64 / cycle * 1e3
    };
    for cores in CORES {
        print!("{cores:>10}");
        for (depots, points) in &mut lines {
            let (share, _) = share(own, side, costs, cores, *depots);
            points.push((cores as f64, share * unhindered(cores)));
            print!("{:>10.0} %", 100.0 * share);
        }
        println!();
    }
    Panel {
        title: format!("{own:.0} ns of own work on each object"),
        lines,
        linear: CORES
            .iter()
            .map(|&cores| (cores as f64, unhindered(cores)))
            .collect(),
    }
}
