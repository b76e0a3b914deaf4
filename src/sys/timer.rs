//! A timer that tells exactly one of many threads that an interval has passed.
//!
//! It stores the time of the last restart in 32 bits, which every target can exchange atomically. The unit is a
//! *tick* of 1/65,536 of the interval, but at least one millisecond. So the time wraps around after 65,536 intervals,
//! or after 49.7 days if that is longer, and no interval is too long. A timer that was not read for that long is late
//! by at most one interval, and then continues as usual.

use crate::sync::{Ordering, StatU32};
use std::time::Duration;

/// The ticks of an interval; a short one has fewer.
const TICKS: u64 = 1 << 16;
/// A restart up to this many ticks ahead was made by another thread that read the clock later.
const AHEAD: u32 = 1 << 16;

/// A timer for one interval: all calls must pass the same.
#[derive(Debug)]
pub(crate) struct Timer {
    /// The tick of the last restart; 0: never. Relaxed: it publishes nothing.
    last: StatU32,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self {
            last: StatU32::new(0),
        }
    }

    pub(crate) fn restart(&self, interval: Duration) {
        let (now, _) = ticks(milliseconds(), interval);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Whether the last restart was less than `interval` ago.
    pub(crate) fn is_within(&self, interval: Duration) -> bool {
        self.is_within_at(milliseconds(), interval)
    }

    /// `true` for one caller each time that `interval` has passed. The first call starts the timer.
    pub(crate) fn is_due(&self, interval: Duration) -> bool {
        self.is_due_at(milliseconds(), interval)
    }

    fn is_within_at(&self, now: u64, interval: Duration) -> bool {
        let (now, interval) = ticks(now, interval);
        is_within(self.last.load(Ordering::Relaxed), now, interval)
    }

    fn is_due_at(&self, now: u64, interval: Duration) -> bool {
        let (now, interval) = ticks(now, interval);
        let last = self.last.load(Ordering::Relaxed);
        if is_within(last, now, interval) {
            return false;
        }
        let mine = self
            .last
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        mine.is_ok() && last != 0
    }
}

fn is_within(last: u32, now: u32, interval: u32) -> bool {
    let elapsed = now.wrapping_sub(last);
    last != 0 && (elapsed < interval || elapsed > u32::MAX - AHEAD)
}

/// Converts a time in milliseconds and an interval to ticks. The time is never 0.
fn ticks(now: u64, interval: Duration) -> (u32, u32) {
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let tick = (interval / TICKS).max(1);
    // Truncated to 32 bits, so that it wraps around. The interval is less than twice `TICKS`.
    let now = (now / tick) as u32;
    (now.max(1), (interval / tick) as u32)
}

/// Milliseconds since the first call.
#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
fn milliseconds() -> u64 {
    use crate::sync::rare::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get().copied().unwrap_or_else(|| {
        let now = Instant::now();
        let _ = START.set(now);
        now
    });
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// This target has no clock: nothing is ever due.
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
fn milliseconds() -> u64 {
    0
}

/// Sets the start of the clock.
pub(crate) fn prepare() {
    let _ = milliseconds();
}

#[cfg(test)]
mod tests {
    use super::{TICKS, Timer};
    use std::time::Duration;

    const SECOND: u64 = 1_000;
    const DAY: u64 = 24 * 3600 * SECOND;
    /// Intervals in milliseconds, on both sides of each boundary of the tick.
    const INTERVALS: [u64; 9] = [
        1,
        10,
        5 * SECOND,
        TICKS - 1,
        TICKS,
        2 * TICKS - 1,
        2 * TICKS,
        DAY,
        (1 << 32) + 1,
    ];

    #[test]
    fn an_interval_is_as_long_as_it_says() {
        for interval in INTERVALS {
            let (timer, duration) = (Timer::new(), Duration::from_millis(interval));
            let start = 12_345;
            assert!(
                !timer.is_due_at(start, duration),
                "the first look starts it"
            );
            // Two ticks.
            let slack = 2 * (interval / TICKS + 1);
            let early = start + interval - slack.min(interval - 1) - 1;
            assert!(!timer.is_due_at(early, duration), "{interval} ms");
            assert!(timer.is_within_at(early, duration), "{interval} ms");
            let late = start + interval + slack;
            assert!(timer.is_due_at(late, duration), "{interval} ms");
            assert!(!timer.is_due_at(late, duration), "for one caller");
        }
    }

    /// An interval of 2^32 + 1 ms must not be taken for one of 1 ms.
    #[test]
    fn an_interval_beyond_32_bits_is_not_cut() {
        let (timer, interval) = (Timer::new(), Duration::from_millis((1 << 32) + 1));
        assert!(!timer.is_due_at(0, interval));
        for day in 0..49 {
            assert!(!timer.is_due_at(day * DAY, interval), "day {day}");
        }
        assert!(timer.is_due_at(50 * DAY, interval));
        // The longest interval.
        let timer = Timer::new();
        for day in [0, 1, 1_000, 1_000_000] {
            assert!(!timer.is_due_at(day * DAY, Duration::MAX));
        }
    }

    /// The clock passes 2^32 ms after 49.7 days.
    #[test]
    fn intervals_go_on_after_the_clock_wraps_around() {
        for interval in INTERVALS {
            let (timer, duration) = (Timer::new(), Duration::from_millis(interval));
            let wraps = (interval / TICKS).max(1) << 32;
            let mut now = wraps - 5 * interval;
            assert!(!timer.is_due_at(now, duration));
            for round in 0..10 {
                now += interval + interval / TICKS + 1;
                assert!(
                    timer.is_due_at(now, duration),
                    "{interval} ms, round {round}"
                );
                assert!(
                    !timer.is_due_at(now, duration),
                    "{interval} ms, round {round}"
                );
            }
        }
    }

    /// However long a timer was not read, it is due an interval later.
    #[test]
    fn a_timer_that_was_left_alone_goes_on() {
        let interval = Duration::from_secs(5);
        for days in [24, 25, 49, 50, 51, 75, 99, 100, 1_000] {
            for off in 0..20 {
                let timer = Timer::new();
                assert!(!timer.is_due_at(7, interval));
                let back = days * DAY + off * 5 * SECOND;
                let due = (0..=15).any(|more| timer.is_due_at(back + more * 5 * SECOND, interval));
                assert!(due, "after {days} days");
            }
        }
    }

    /// Another thread has read the clock later, but has restarted the timer first.
    #[test]
    fn a_restart_that_is_ahead_is_not_long_ago() {
        let (timer, interval) = (Timer::new(), Duration::from_secs(5));
        assert!(!timer.is_due_at(2_000, interval));
        assert!(!timer.is_due_at(1_990, interval));
        assert!(timer.is_within_at(1_990, interval));
    }

    /// After many intervals, one caller is told, and only once.
    #[test]
    fn missed_intervals_are_not_made_up_for() {
        let (timer, interval) = (Timer::new(), Duration::from_millis(20));
        assert!(!timer.is_due_at(0, interval));
        let due = (0..19).filter(|more| timer.is_due_at(10_000 + more, interval));
        assert_eq!(due.count(), 1);
    }
}
