//! What threads do to the pools of a world.

use super::disturb;
use super::things::{Held, Tally, Thing, quietly};
use super::world::{Kind, Random, Subject, World};
use bytes::BytesMut;
use repool::{Level, Stats};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// Dropped while the thread ends: before or after its caches are handed over.
    static STASH: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// The most objects that a thread holds; it drops the rest.
const HANDS: usize = 200;

/// The counters always add up.
#[track_caller]
pub(crate) fn balanced(stats: &Stats) {
    let came = stats.created + stats.adopted;
    let went = stats.discarded + stats.trimmed + stats.taken;
    assert_eq!(came, stats.in_use + stats.idle + went, "{stats:?}");
    assert_eq!(stats.discarded, stats.discarded_by.total(), "{stats:?}");
}

fn get(subject: &Subject, random: &mut Random, faults: bool) -> Option<Held> {
    let tally = &subject.tally;
    quietly(|| match &subject.pool {
        Kind::Thing(pool) => Held::thing(pool.get(), tally, random, faults),
        Kind::Vec(pool) => Held::vec(pool.get(), tally, random),
        Kind::Buffer(pool) => {
            let asked = random.size();
            Held::buffer(pool.get(asked), asked, tally, random)
        }
        Kind::Arena(pool) => Held::arena(pool.get(), tally),
    })
}

/// Gets as many as are idle, and a few more.
fn get_many(subject: &Subject, random: &mut Random, faults: bool, hands: &mut Vec<Held>) {
    for _ in 0..random.below(100) {
        let tally = &subject.tally;
        let one = quietly(|| match &subject.pool {
            Kind::Thing(pool) => Some(Held::thing(pool.try_get()?, tally, random, faults)),
            Kind::Vec(pool) => Some(Held::vec(pool.try_get()?, tally, random)),
            _ => get(subject, random, faults),
        });
        match one.flatten() {
            Some(one) => hands.push(one),
            None => break,
        }
    }
}

/// Gets and drops as fast as possible: mostly hits.
fn pairs(subject: &Subject, many: usize, random: &mut Random) {
    for _ in 0..many {
        match &subject.pool {
            Kind::Vec(pool) => {
                let mut vec = pool.get();
                assert!(vec.is_empty(), "not cleared");
                vec.push(1);
            }
            _ => drop(get(subject, random, false)),
        }
    }
}

fn put(subject: &Subject, random: &mut Random) {
    let tally: &Arc<Tally> = &subject.tally;
    let _ = quietly(|| match &subject.pool {
        Kind::Thing(pool) => pool.put(Thing::new(tally)),
        Kind::Vec(pool) => pool.put(vec![1; random.size()]),
        Kind::Buffer(pool) => pool.put(BytesMut::zeroed(random.size())),
        Kind::Arena(_) => {}
    });
}

fn any(hands: &mut Vec<Held>, random: &mut Random) -> Option<Held> {
    (!hands.is_empty()).then(|| hands.swap_remove(random.below(hands.len())))
}

/// One thread's life.
pub(crate) fn live(
    world: &World,
    me: usize,
    random: &mut Random,
    hands: &mut Vec<Held>,
    acts: usize,
) {
    let _enlisted = disturb::enlist();
    for act in 0..acts {
        if act % 64 == 63 {
            disturb::progress(64);
        }
        let subject = world.subject(random.below(world.pools()));
        match random.below(100) {
            0..25 => hands.extend(get(&subject, random, world.plan.faults)),
            25..28 => get_many(&subject, random, world.plan.faults, hands),
            28..50 => drop(any(hands, random)),
            // A get and a drop in turn.
            50..58 => {
                let most = if world.plan.tight { 1_000 } else { 40 };
                pairs(&subject, random.below(most), random);
            }
            58..68 => {
                if let Some(mut one) = any(hands, random) {
                    hands.extend(one.use_it(random));
                    hands.push(one);
                }
            }
            68..78 => {
                if let Some(one) = any(hands, random) {
                    world.send(random.below(world.mailboxes()), one);
                }
            }
            78..84 => hands.extend(world.receive(me)),
            84 => hands.clear(),
            85 => put(&subject, random),
            86 => {
                if let Some(one) = any(hands, random) {
                    one.take_out();
                }
            }
            87 => {
                if let Some(one) = any(hands, random) {
                    one.discard();
                }
            }
            88 => {
                if let (Some(one), Some(mut other)) = (any(hands, random), any(hands, random)) {
                    other.stuff(one);
                    hands.push(other);
                }
            }
            89 => {
                if let Some(one) = any(hands, random) {
                    let many = STASH.with_borrow_mut(|stash| {
                        stash.push(one);
                        // A thread that stays must not accumulate them.
                        if stash.len() > 20 {
                            std::mem::take(stash)
                        } else {
                            Vec::new()
                        }
                    });
                    drop(many);
                }
            }
            90 => visit(world, random),
            91 => std::thread::yield_now(),
            92 => std::thread::sleep(Duration::from_micros(random.below(300) as u64)),
            // On a thread that ends immediately.
            93 if random.below(8) == 0 => {
                if let Some(one) = any(hands, random) {
                    let _ = std::thread::spawn(move || drop(one)).join();
                }
            }
            _ => hands.iter().rev().take(5).for_each(Held::check),
        }
        if hands.len() > HANDS {
            hands.truncate(HANDS / 2);
        }
    }
    disturb::progress(1);
}

/// What a visitor may do.
pub(crate) fn visit(world: &World, random: &mut Random) {
    let slot = random.below(world.pools());
    let subject = world.subject(slot);
    let level = [Level::Normal, Level::Elevated, Level::Critical][random.below(3)];
    let act = random.below(16);
    let _ = quietly(|| match (act, &subject.pool) {
        (0..4, pool) => balanced(&pool.stats()),
        (4..8, Kind::Thing(pool)) => drop(pool.trim()),
        (4..8, Kind::Vec(pool)) => drop(pool.trim()),
        (4..8, Kind::Buffer(pool)) => drop(pool.trim()),
        (4..8, Kind::Arena(pool)) => drop(pool.trim()),
        (8..10, Kind::Thing(pool)) => drop(pool.trim_under(level)),
        (8..10, Kind::Vec(pool)) => drop(pool.trim_under(level)),
        (8..10, Kind::Buffer(pool)) => drop(pool.trim_under(level)),
        (8..10, Kind::Arena(pool)) => drop(pool.trim_under(level)),
        (10, pool) => pool.clear(),
        (11, pool) if world.plan.switches => pool.set_enabled(random.below(3) != 0),
        (12, Kind::Thing(pool)) => drop(pool.prefill(random.below(30))),
        (12, Kind::Vec(pool)) => drop(pool.prefill(random.below(30))),
        (13, _) => repool::pools()
            .iter()
            .for_each(|pool| balanced(&pool.stats)),
        (14, _) if random.below(4) == 0 => world.replace(slot, random),
        (15, _) => {
            let _ = repool::janitor_stats();
            if let Some(budget) = &world.budget {
                assert!(budget.used() <= budget.limit(), "{budget:?}");
            }
            if world.plan.pressure {
                world.press(level);
            }
        }
        _ => {}
    });
}
