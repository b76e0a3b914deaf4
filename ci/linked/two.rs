//! Two versions of the crate in one program, used by the same threads, each inside the other's callbacks.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

macro_rules! uses {
    ($name:ident) => {
        mod $name {
            use std::time::Duration;
            use $name::{ArenaPool, BufferPool, Pool, Pooled};

            static LASTING: Pool<Vec<u8>> = Pool::new(Vec::new);

            pub struct Pools {
                pub vectors: Pool<Vec<usize>>,
                pub buffers: BufferPool,
                pub arenas: ArenaPool,
            }

            impl Pools {
                pub fn new() -> Self {
                    let every = Duration::from_millis(2);
                    Self {
                        vectors: Pool::builder(Vec::new).max_idle(100).trim_every(every).build(),
                        buffers: BufferPool::builder().trim_every(every).build(),
                        arenas: ArenaPool::builder().trim_every(every).build(),
                    }
                }

                pub fn request(&self, round: usize) -> Pooled<Vec<usize>> {
                    let mut one = self.vectors.get();
                    assert!(one.is_empty());
                    one.push(round);
                    let mut buffer = self.buffers.get(500);
                    buffer.extend_from_slice(&round.to_le_bytes());
                    assert_eq!(buffer.freeze()[..], round.to_le_bytes());
                    let arena = self.arenas.get();
                    assert_eq!(*arena.alloc(round), round);
                    LASTING.get().push(1);
                    one
                }

                /// All that is idle has gone, by this version's own janitor.
                pub fn is_trimmed(&self) -> bool {
                    let idle = [
                        self.vectors.stats().idle,
                        self.buffers.stats().idle,
                        self.arenas.stats().idle,
                    ];
                    idle == [0; 3]
                }

                pub fn adds_up(&self) {
                    let stats = self.vectors.stats();
                    let went = stats.in_use + stats.idle + stats.discarded + stats.trimmed + stats.taken;
                    assert_eq!(stats.created + stats.adopted, went, "{stats:?}");
                    assert_eq!(stats.in_use, 0, "{stats:?}");
                    assert!(stats.reused > 0 && stats.created < stats.reused, "{stats:?}");
                }
            }
        }
    };
}

uses!(repool);
uses!(repool_before);

/// An object of the one version that has a guard of the other, and uses its pool when it is reset.
struct Nested {
    inner: Option<::repool_before::Pooled<Vec<usize>>>,
}

impl ::repool::Recycle for Nested {
    fn recycle(&mut self) {
        static INSIDE: ::repool_before::Pool<String> = ::repool_before::Pool::new(String::new);
        INSIDE.get().push('x');
        self.inner = None;
    }
}

/// A child of this process: both versions go on there, and each has a janitor. (What a lost thread was about to put into
/// a depot, or has locked, leaks there. So pools of the child's own show that they are trimmed.)
fn fork_once(ours: &repool::Pools, theirs: &repool_before::Pools) {
    // SAFETY: the child uses the allocator and pools, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        (0..100).for_each(|round| drop((ours.request(round), theirs.request(round))));
        let (ours, theirs) = (repool::Pools::new(), repool_before::Pools::new());
        (0..100).for_each(|round| drop((ours.request(round), theirs.request(round))));
        let start = Instant::now();
        while !(ours.is_trimmed() && theirs.is_trimmed()) {
            thread::sleep(Duration::from_millis(2));
            if start.elapsed() > Duration::from_secs(20) {
                // SAFETY: ends the child.
                unsafe { libc::_exit(3) };
            }
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: our own child; `status` is valid.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0);
}

fn main() {
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(120));
        eprintln!("it hangs");
        exit(9);
    });
    let (ours, theirs) = (repool::Pools::new(), repool_before::Pools::new());
    let nested = ::repool::Pool::builder(|| Nested { inner: None }).build();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Threads that come and go, each with caches in both versions.
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    thread::scope(|scope| {
                        scope.spawn(|| {
                            for round in 0..200 {
                                let held = (ours.request(round), theirs.request(round));
                                let mut outer = nested.get();
                                assert!(outer.inner.is_none());
                                outer.inner = Some(theirs.vectors.get());
                                drop((outer, held));
                            }
                        });
                    });
                }
            });
        }
        for _ in 0..30 {
            fork_once(&ours, &theirs);
        }
        stop.store(true, SeqCst);
    });
    ours.adds_up();
    theirs.adds_up();
    let start = Instant::now();
    while !(ours.is_trimmed() && theirs.is_trimmed()) {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody trims");
        thread::sleep(Duration::from_millis(2));
    }
    let janitors = (::repool::janitor_stats(), ::repool_before::janitor_stats());
    assert!(janitors.0.running && janitors.1.running, "{janitors:?}");
    assert!(janitors.0.passes > 0 && janitors.1.passes > 0, "{janitors:?}");
    println!("two versions: {} and {} passes", janitors.0.passes, janitors.1.passes);
}
