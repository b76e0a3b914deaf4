//! The `tracing` feature, through a subscriber, as users have it.
#![cfg(all(feature = "tracing", not(target_family = "wasm")))]

use repool::{Budget, Builder, Level, Pool};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the lines of the process so far that contain `what`.
fn lines(what: &str) -> Vec<String> {
    static START: Once = Once::new();
    START.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .without_time()
            .with_writer(|| Log)
            .finish();
        subscriber::set_global_default(subscriber).unwrap();
    });
    let log = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
    log.lines()
        .filter(|line| line.contains(what))
        .map(String::from)
        .collect()
}

fn pool(name: &str) -> Builder<Vec<u8>> {
    assert_eq!(lines(&format!("{name:?}")), [""; 0]);
    Pool::builder(|| Vec::with_capacity(76))
        .name(name)
        .trim_manually()
}

#[test]
fn a_pass_that_dropped_something_says_what_and_where() {
    let pool = pool("dropped").build();
    drop((0..7).map(|_| pool.get()).collect::<Vec<_>>());
    let _ = pool.trim();
    assert_eq!(lines("\"dropped\""), [""; 0], "this pass dropped nothing");
    while pool.trim().objects == 0 {}
    let said = lines("\"dropped\"");
    assert_eq!(said.len(), 1, "one event for all of them: {said:?}");
    for part in [
        "DEBUG",
        "repool::trim",
        "trim pass dropped idle objects",
        "objects=7",
        "bytes=700",
    ] {
        assert!(said[0].contains(part), "{part}: {said:?}");
    }
    assert!(said[0].contains("pressure=Normal"));
    drop(pool.get());
    let _ = pool.trim_under(Level::Critical);
    let said = lines("\"dropped\"");
    assert!(
        said.len() == 2 && said[1].contains("pressure=Critical"),
        "{said:?}"
    );
}

#[test]
fn gets_and_drops_emit_nothing() {
    let pool = pool("hits").max_idle(3).build();
    for _ in 0..if cfg!(miri) { 5 } else { 100 } {
        drop((0..9).map(|_| pool.get()).collect::<Vec<_>>());
    }
    let _ = (pool.stats(), pool.clear());
    assert!(pool.stats().discarded_by.full > 0);
    assert_eq!(lines("\"hits\""), [""; 0]);
}

#[test]
fn what_limits_refused_is_told_once_a_pass() {
    let full = pool("full").max_idle(10).build();
    drop((0..110).map(|_| full.get()).collect::<Vec<_>>());
    let refused = full.stats().discarded_by.full;
    assert!(refused >= 100);
    let _ = full.trim();
    let said = lines("\"full\"");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("repool::limits"), "{said:?}");
    assert!(
        said[0].contains(&format!("full={refused} budget=0")),
        "{said:?}"
    );
    let _ = full.trim();
    assert_eq!(lines("\"full\"").len(), 1, "nothing new");

    let poor = pool("poor").budget(Budget::new(1_000)).build();
    drop((0..50).map(|_| poor.get()).collect::<Vec<_>>());
    let refused = poor.stats().discarded_by.budget;
    let _ = poor.trim();
    let said = lines("\"poor\"");
    assert!(refused >= 40 && said.len() == 1, "{said:?}");
    assert!(
        said[0].contains(&format!("full=0 budget={refused}")),
        "{said:?}"
    );
}

#[cfg(feature = "bytes")]
#[test]
fn passes_over_a_buffer_pool_have_its_name() {
    assert_eq!(lines("\"buffered\""), [""; 0]);
    let pool = repool::BufferPool::builder()
        .name("buffered")
        .trim_manually()
        .build();
    drop(pool.get(1_024));
    while pool.trim().objects == 0 {}
    let said = lines("\"buffered\"");
    assert!(
        said.len() == 1 && said[0].contains("objects=1 bytes=1024"),
        "{said:?}"
    );
}

#[test]
#[cfg_attr(miri, ignore = "there is no janitor")]
fn the_janitor_says_when_it_starts_and_ends() {
    let count = || (lines("janitor started").len(), lines("janitor ended").len());
    assert_eq!(count(), (0, 0));
    let pool = Pool::<String>::builder(String::new)
        .name("watched")
        .trim_every(Duration::from_millis(5))
        .build();
    drop(pool.get());
    let start = Instant::now();
    let wait = |what: &str| {
        while lines(what).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
            std::thread::sleep(Duration::from_millis(1)); // polls
        }
    };
    wait("janitor started");
    wait("\"watched\"");
    assert!(
        lines("\"watched\"")[0].contains("objects=1"),
        "by the janitor's pass"
    );
    assert_eq!(count(), (1, 0));
    drop(pool);
    wait("janitor ended");
    assert_eq!(count(), (1, 1));
}

/// Uses pools for each event, and panics if told to.
struct Nosy {
    pool: Pool<Vec<u8>>,
    told: AtomicUsize,
    panics: bool,
}

impl Subscriber for Nosy {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        drop([self.pool.get(), self.pool.get()]);
        let _ = (
            self.pool.trim(),
            self.pool.clear(),
            self.pool.stats(),
            repool::pools(),
        );
        self.told.fetch_add(1, SeqCst);
        assert!(!self.panics, "expected");
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Nothing is locked while a subscriber runs, and the panic of a subscriber is caught.
#[test]
fn a_subscriber_may_use_pools_and_panic() {
    for panics in [false, true] {
        let nosy = Arc::new(Nosy {
            pool: Pool::builder(|| vec![0; 100]).trim_manually().build(),
            told: AtomicUsize::new(0),
            panics,
        });
        subscriber::with_default(Arc::clone(&nosy), || {
            drop([nosy.pool.get(), nosy.pool.get()]);
            while nosy.told.load(SeqCst) == 0 {
                let _ = nosy.pool.trim();
            }
        });
        assert_eq!(nosy.told.load(SeqCst), 1);
        drop(nosy.pool.get());
        assert_eq!(nosy.pool.stats().idle, 1);
    }
}
