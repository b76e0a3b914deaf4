//! What a run does with its objects: how many are held at a time, and which thread drops them.
//!
//! A scenario counts its own gets, and which thread dropped what: see [`Done`].

use crate::{OBJECTS, WARM_UP, counts_window};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One thread gets this many, then drops them, first in, first out.
    Held(usize),
    /// One thread gets, another drops. 64 are handed over at a time, and 64 more are in flight.
    Crossing,
    /// Two threads get 64 each, exchange them, and drop the other's.
    Swapping,
}

/// How many objects go to the other thread at a time.
const BATCH: usize = 64;

pub const ALL: [Scenario; 6] = [
    Scenario::Held(1),
    Scenario::Held(8),
    Scenario::Held(64),
    Scenario::Held(1000),
    Scenario::Crossing,
    Scenario::Swapping,
];

pub fn parse(name: &str) -> Result<Scenario, String> {
    ALL.into_iter()
        .find(|scenario| scenario.name() == name)
        .ok_or_else(|| format!("{name} is not a scenario; `counts list` has them"))
}

impl Scenario {
    pub fn name(self) -> String {
        match self {
            Self::Held(objects) => format!("h{objects}"),
            Self::Crossing => "xt".to_owned(),
            Self::Swapping => "sw".to_owned(),
        }
    }

    /// Runs the warm-up, calls `warm`, and runs the counted part.
    pub fn run<T: Send>(self, get: impl Fn() -> T + Sync, warm: impl Fn() + Sync) -> Done {
        match self {
            Self::Held(objects) => held(objects, &get, &warm),
            Self::Crossing => crossing(&get, &warm),
            Self::Swapping => swapping(&get, &warm),
        }
    }
}

/// The result of the counted part of a run.
#[derive(Debug)]
pub struct Done {
    pub gets: usize,
    /// Objects dropped by another thread than the one that got them.
    pub crossed: usize,
    /// The most objects that one thread held at a time.
    pub held: usize,
}

impl Done {
    /// Whether the run was what the scenario's name says.
    pub fn check(&self, scenario: Scenario) -> Result<(), String> {
        let (crossed, held) = match scenario {
            Scenario::Held(objects) => (0, objects),
            Scenario::Crossing | Scenario::Swapping => (self.gets, BATCH),
        };
        if self.gets != OBJECTS || self.crossed != crossed || self.held != held {
            return Err(format!(
                "{} was not what it says: {self:?}; wanted {OBJECTS} gets, {crossed} crossed, \
                 {held} held",
                scenario.name()
            ));
        }
        Ok(())
    }
}

/// Runs `work`, counted or not: the same code on both sides of the warm-up.
fn window(counted: bool, work: &mut dyn FnMut()) {
    if counted {
        counts_window(work);
    } else {
        work();
    }
}

fn held<T>(objects: usize, get: &impl Fn() -> T, warm: &impl Fn()) -> Done {
    let mut kept = Vec::with_capacity(objects);
    let mut done = Done {
        gets: 0,
        crossed: 0,
        held: 0,
    };
    for counted in [false, true] {
        if counted {
            warm();
        }
        let total = if counted { OBJECTS } else { WARM_UP };
        // Enough in one window that its own call does not count.
        let turns = (BATCH / objects).max(1);
        for _ in 0..total / (objects * turns) {
            window(counted, &mut || {
                for _ in 0..turns {
                    for _ in 0..objects {
                        kept.push(get());
                    }
                    if kept.len() > done.held {
                        done.held = kept.len();
                    }
                    kept.drain(..).for_each(drop);
                }
            });
            if counted {
                done.gets += objects * turns;
            }
        }
    }
    done
}

fn fill<T>(counted: bool, batch: &mut Vec<T>, get: &impl Fn() -> T) {
    window(counted, &mut || {
        for _ in 0..BATCH {
            batch.push(get());
        }
    });
}

fn drop_all<T>(counted: bool, batch: &mut Vec<T>) {
    window(counted, &mut || batch.drain(..).for_each(drop));
}

/// A batch, and the thread that got its objects.
struct Sent<T> {
    batch: Vec<T>,
    from: ThreadId,
}

impl<T> Sent<T> {
    fn crossed(&self) -> usize {
        if self.from == thread::current().id() {
            0
        } else {
            self.batch.len()
        }
    }
}

/// Whose turn it is, and what is in flight between the threads. Strict turns make every run the
/// same: nothing depends on the scheduler.
struct Table<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    turn: usize,
    sent: Vec<Sent<T>>,
    crossed: usize,
    held: usize,
}

impl<T> Table<T> {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                turn: 0,
                sent: Vec::with_capacity(4),
                crossed: 0,
                held: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits for turn `number`, runs it, and lets the next one go.
    fn turn(&self, number: usize, run: impl FnOnce(&mut State<T>)) {
        let mut state = self.wait(number);
        run(&mut state);
        state.turn += 1;
        drop(state);
        self.changed.notify_all();
    }

    fn wait(&self, number: usize) -> MutexGuard<'_, State<T>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed
            .wait_while(state, |state| state.turn != number)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn done(self, gets: usize) -> Done {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        Done {
            gets,
            crossed: state.crossed,
            held: state.held,
        }
    }
}

impl<T> State<T> {
    fn send(&mut self, counted: bool, batch: Vec<T>) {
        if counted {
            self.held = self.held.max(batch.len());
        }
        self.sent.push(Sent {
            batch,
            from: thread::current().id(),
        });
    }

    fn drop_one(&mut self, counted: bool, at: usize) -> Vec<T> {
        let mut sent = self.sent.remove(at);
        if counted {
            self.crossed += sent.crossed();
        }
        drop_all(counted, &mut sent.batch);
        sent.batch
    }
}

fn crossing<T: Send>(get: &(impl Fn() -> T + Sync), warm: &(impl Fn() + Sync)) -> Done {
    let table = Table::new();
    let (before, rounds) = (WARM_UP / BATCH, (WARM_UP + OBJECTS) / BATCH);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                table.turn(2 * round + 1, |state| {
                    // One batch stays in flight, so what comes back is not what was just got.
                    if round > 0 {
                        state.drop_one(round >= before, 0);
                    }
                    if round + 1 == rounds {
                        state.drop_one(false, 0);
                    }
                });
            }
        });
        for round in 0..rounds {
            table.turn(2 * round, |state| {
                if round == before {
                    warm();
                }
                let mut batch = Vec::with_capacity(BATCH);
                fill(round >= before, &mut batch, get);
                state.send(round >= before, batch);
            });
        }
    });
    table.done(OBJECTS)
}

fn swapping<T: Send>(get: &(impl Fn() -> T + Sync), warm: &(impl Fn() + Sync)) -> Done {
    let table = Table::new();
    let (before, rounds) = (WARM_UP / (2 * BATCH), (WARM_UP + OBJECTS) / (2 * BATCH));
    let one = |me: usize| {
        for round in 0..rounds {
            let counted = round >= before;
            table.turn(4 * round + me, |state| {
                if round == before && me == 0 {
                    warm();
                }
                let mut batch = Vec::with_capacity(BATCH);
                fill(counted, &mut batch, get);
                state.send(counted, batch);
            });
            table.turn(4 * round + 2 + me, |state| {
                let me = thread::current().id();
                if let Some(at) = state.sent.iter().position(|sent| sent.from != me) {
                    state.drop_one(counted, at);
                }
            });
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| one(1));
        one(0);
    });
    table.done(OBJECTS)
}
