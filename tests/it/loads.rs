//! Random steady loads on several threads, with a pass after each interval: what passes drop is not
//! needed again, and what a burst leaves goes.

use super::support::{Census, Tag, Worker, manual, n, trim};
use repool::{Pool, Pooled};
use std::collections::VecDeque;
use std::sync::Arc;

/// A part of a random load: in each interval, or every other one, one thread gets objects and
/// another one, or the same, drops them.
#[derive(Clone, Debug)]
struct Stream {
    from: usize,
    to: usize,
    objects: usize,
    in_flight: usize,
    every: usize,
    first: usize,
}

/// The loads of these tests have this many threads.
const THREADS: usize = 4;

fn streams(random: &mut impl FnMut(usize) -> usize, all_cross: bool) -> Vec<Stream> {
    let most = [4, 20, 100, 300][random(4)];
    (0..1 + random(4))
        .map(|_| {
            let from = random(THREADS);
            let objects = 1 + random(most);
            let every = if all_cross { 1 } else { 1 + random(2) };
            Stream {
                from,
                to: match all_cross {
                    true => (from + 1 + random(THREADS - 1)) % THREADS,
                    false => random(THREADS),
                },
                objects,
                in_flight: 1 + random(objects),
                every,
                first: random(every),
            }
        })
        .collect()
}

/// Runs such a load with a pass after each interval.
struct Running {
    pool: Arc<Pool<Tag>>,
    census: Census,
    workers: Vec<Worker>,
    streams: Vec<(Stream, VecDeque<Pooled<Tag>>)>,
    interval: usize,
}

impl Running {
    fn new(streams: Vec<Stream>) -> Self {
        let census = Census::new();
        Self {
            pool: Arc::new(manual(census.create()).build()),
            census,
            workers: (0..THREADS).map(|_| Worker::new()).collect(),
            streams: streams
                .into_iter()
                .map(|one| (one, VecDeque::new()))
                .collect(),
            interval: 0,
        }
    }

    fn get(&self, thread: usize, objects: usize) -> Vec<Pooled<Tag>> {
        let pool = self.pool.clone();
        self.workers[thread].run(move || (0..objects).map(|_| pool.get()).collect())
    }

    /// Returns how many objects the interval has created.
    fn interval(&mut self) -> usize {
        let before = self.census.born();
        for at in 0..self.streams.len() {
            let stream = self.streams[at].0.clone();
            if self.interval % stream.every != stream.first {
                continue;
            }
            let mut left = stream.objects;
            while left > 0 {
                let now = left.min(stream.in_flight);
                left -= now;
                let got = self.get(stream.from, now);
                let held = &mut self.streams[at].1;
                held.extend(got);
                let done = held.len().saturating_sub(stream.in_flight / 2);
                let dropped: Vec<_> = held.drain(..done).collect();
                self.workers[stream.to].run(move || drop(dropped));
            }
        }
        self.interval += 1;
        let _ = self.pool.trim();
        self.census.born() - before
    }

    /// The same of this many intervals.
    fn intervals(&mut self, count: usize) -> usize {
        (0..count).map(|_| self.interval()).sum()
    }

    fn end(self) {
        drop(self.streams);
        (0..3).for_each(|_| trim(&self.pool));
        assert_eq!(self.census.alive(), 0);
        self.workers.into_iter().for_each(Worker::end);
    }
}

/// A generator of random numbers below its argument.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects")]
fn a_steady_load_that_crosses_threads_at_random_never_creates() {
    let one_and_three = [1, 3].map(|objects| Stream {
        from: objects - 1,
        to: objects,
        objects,
        in_flight: 1,
        every: 1,
        first: 0,
    });
    let loads = (1..n(60, 1) as u64).map(|seed| streams(&mut random(seed), true));
    for load in std::iter::once(one_and_three.to_vec()).chain(loads) {
        let mut running = Running::new(load);
        running.intervals(20);
        let created = running.intervals(40);
        let load: Vec<_> = running.streams.iter().map(|(one, _)| one).collect();
        assert_eq!(created, 0, "{load:?}");
        running.end();
    }
}

/// Objects that cross threads, and objects that do not, in each interval or every other one.
#[test]
#[cfg_attr(miri, ignore = "thousands of objects")]
fn hardly_any_steady_load_creates() {
    let loads = n(60, 2);
    let creating = (1..=loads as u64)
        .map(|seed| streams(&mut random(1_000 + seed), false))
        .filter(|load| {
            let mut running = Running::new(load.clone());
            running.intervals(20);
            let created = running.intervals(40);
            running.end();
            created > 0
        });
    let creating: Vec<_> = creating.collect();
    assert!(creating.len() <= loads / 10, "{creating:?}");
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects")]
fn a_burst_beside_a_load_that_crosses_threads_does_not_stay() {
    if std::env::var_os("REPOOL_DEPOTS").is_some() {
        return; // several depots give memory back later
    }
    for seed in 1..=n(40, 1) as u64 {
        let mut running = Running::new(streams(&mut random(2_000 + seed), true));
        running.intervals(30);
        let mut before = 0;
        for _ in 0..10 {
            running.intervals(1);
            before = before.max(running.census.alive());
        }
        let burst = running.get(seed as usize % THREADS, 200);
        running.workers[seed as usize / 2 % THREADS].run(move || drop(burst));
        // The load may use some of them meanwhile.
        running.intervals(6);
        let after = running.census.alive();
        assert!(
            after <= before,
            "{after}, {before} before: {:?}",
            running.streams
        );
        running.end();
    }
}

#[test]
fn a_slow_load_keeps_twice_what_it_uses_at_most_also_if_no_get_finds_nothing() {
    // Once the caches held whole lists, 900 of 20 kept 156, and a burst of 200 was kept for ever.
    if std::env::var_os("REPOOL_DEPOTS").is_some() {
        return; // as above
    }
    for (objects, in_flight, burst) in [
        (900, 20, 0),
        (900, 20, 200),
        (500, 20, 1_100),
        (10, 2, 1_100),
    ] {
        let mut running = Running::new(vec![Stream {
            from: 0,
            to: 1,
            objects,
            in_flight,
            every: 1,
            first: 0,
        }]);
        running.intervals(n(30, 2));
        let burst = running.get(0, burst);
        running.workers[1].run(move || drop(burst));
        running.intervals(6);
        let alive = running.census.alive();
        assert!(alive <= 2 * in_flight, "{alive} for {in_flight}");
        running.end();
    }
}

#[test]
fn what_a_crossing_return_hands_over_is_gone_by_the_fourth_pass() {
    if std::env::var_os("REPOOL_DEPOTS").is_some() {
        return; // as above
    }
    for objects in [20, 100] {
        let mut running = Running::new(vec![Stream {
            from: 0,
            to: 1,
            objects: 1,
            in_flight: 1,
            every: 2,
            first: 0,
        }]);
        running.intervals(7);
        let unused = running.get(1, objects);
        running.workers[1].run(move || drop(unused));
        // In the second interval from here, one object crosses to the thread that holds the others.
        running.intervals(4);
        let alive = running.census.alive();
        assert!(alive <= 2, "{alive} of {objects}");
        running.end();
    }
}
