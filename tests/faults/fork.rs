//! A fork while another thread is at work, at each place where it may call code of others: the
//! allocator and every callback. In the child that thread does not exist; what it had locked stays
//! locked, and what it was about to do is never done. (`tests/fork.rs` forks at random moments.)

use super::allocation::{self, Fault};
use super::child::{self, End};
use super::scale::n;
use super::{alone, balanced, eventually};
use repool::{BufferPool, Pool, Recycle};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// Where a thread waits while the process is forked.
static WAITS: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);

fn wait_here() {
    WAITS.store(true, SeqCst);
    while !GO_ON.load(SeqCst) {
        // It may be inside the allocator, so it does not allocate.
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Starts a thread that reaches [`wait_here`], or ends without.
fn start(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    WAITS.store(false, SeqCst);
    GO_ON.store(false, SeqCst);
    let thread = spawn(work);
    eventually("the thread waits, or has ended", || {
        WAITS.load(SeqCst) || thread.is_finished()
    });
    thread
}

fn go_on(thread: JoinHandle<()>) {
    GO_ON.store(true, SeqCst);
    thread.join().expect("no panic");
}

/// Runs a child's work on what it has inherited, within this many seconds.
fn use_all(pool: &Pool<Object>, buffers: &BufferPool) -> i32 {
    let start = Instant::now();
    for _ in 0..3 {
        let held: Vec<_> = (0..100).map(|_| pool.get()).collect();
        drop(held);
        let mut buffer = buffers.get(1000);
        buffer.extend_from_slice(b"hello");
        assert_eq!(&buffer.freeze()[..], b"hello");
    }
    let quick = start.elapsed();
    balanced(&pool.stats());
    let _ = (pool.trim(), buffers.trim(), pool.clear(), buffers.clear());
    let other = spawn(|| {
        let own: Pool<String> = Pool::new(String::new);
        drop((0..100).map(|_| own.get()).collect::<Vec<_>>());
        own.stats().created
    });
    assert_eq!(other.join().expect("no panic"), 100);
    assert!(quick < Duration::from_secs(10), "{quick:?}");
    0
}

#[derive(Debug, Default)]
struct Object(Vec<u8>);

/// The number of the callback that waits; 0 for none.
static WAITING: AtomicUsize = AtomicUsize::new(0);
const CREATE: usize = 1;
const RECYCLE: usize = 2;
const WEIGH: usize = 3;
const DROP: usize = 4;

fn callback(which: usize) {
    if WAITING.compare_exchange(which, 0, SeqCst, SeqCst).is_ok() {
        wait_here();
    }
}

impl Object {
    fn new() -> Self {
        callback(CREATE);
        Self(vec![0; 100])
    }
}

impl Recycle for Object {
    fn recycle(&mut self) {
        callback(RECYCLE);
    }

    fn retained_bytes(&self) -> usize {
        callback(WEIGH);
        self.0.capacity()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        callback(DROP);
    }
}

type Pools = Arc<(Pool<Object>, BufferPool)>;

/// What the other thread does, from its first use of a pool to its end.
fn whole_life(pools: &Pools) {
    let (pool, buffers) = &**pools;
    drop((0..80).map(|_| pool.get()).collect::<Vec<_>>());
    let mut buffer = buffers.get(1000);
    buffer.extend_from_slice(b"hello");
    drop(buffer.freeze());
    pool.put(Object::default());
    let _ = (pool.trim(), pool.stats(), pool.clear());
    drop((0..150).map(|_| pool.get()).collect::<Vec<_>>());
    let own: Pool<Object> = Pool::builder(Object::new).build();
    drop(own.get());
}

fn pools(every: Option<Duration>) -> Pools {
    let (objects, buffers) = (Pool::builder(Object::new), BufferPool::builder());
    Arc::new(match every {
        Some(every) => (
            objects.trim_every(every).build(),
            buffers.trim_every(every).build(),
        ),
        None => (
            objects.trim_manually().build(),
            buffers.trim_manually().build(),
        ),
    })
}

fn fork_now(what: &str, pools: &Pools) {
    let end = child::run(60, false, || {
        WAITING.store(0, SeqCst);
        use_all(&pools.0, &pools.1)
    });
    assert_eq!(end, End::Code(0), "{what}");
}

/// The parent goes on as if nothing had happened.
fn is_well(pools: &Pools) {
    let _ = pools.0.clear();
    let stats = pools.0.stats();
    balanced(&stats);
    assert_eq!((stats.in_use, stats.idle), (0, 0), "{stats:?}");
}

#[test]
fn a_fork_while_a_thread_is_at_any_allocation_leaves_pools_usable() {
    let _turn = alone();
    // At scale 16, all of them.
    let step = 16 / n(1, 1).min(16);
    for every in [None, Some(Duration::from_secs(3600))] {
        let mut forks = 0;
        for at in (0..).step_by(step) {
            let pools = pools(every);
            let there = pools.clone();
            let thread = start(move || {
                allocation::set(Fault::Run(at, wait_here));
                whole_life(&there);
                allocation::set(Fault::None);
            });
            let done = thread.is_finished();
            if !done {
                fork_now(&format!("allocation {at}, {every:?}"), &pools);
                forks += 1;
            }
            go_on(thread);
            is_well(&pools);
            if done {
                break;
            }
        }
        println!("{forks} forks, trimmed every {every:?}");
        assert!(forks >= 20, "{forks}");
    }
}

#[test]
fn a_fork_while_a_thread_is_in_any_callback_leaves_pools_usable() {
    let _turn = alone();
    type Act = fn(&Pools);
    let acts: [(&str, usize, Act); 9] = [
        ("create in get", CREATE, |pools| {
            drop((0..200).map(|_| pools.0.get()).collect::<Vec<_>>())
        }),
        ("create in prefill", CREATE, |pools| {
            _ = pools.0.prefill(500)
        }),
        ("recycle in drop", RECYCLE, |pools| drop(pools.0.get())),
        ("recycle in put", RECYCLE, |pools| {
            pools.0.put(Object::default())
        }),
        ("weigh in drop", WEIGH, |pools| drop(pools.0.get())),
        ("drop in clear", DROP, |pools| _ = pools.0.clear()),
        ("drop in a pass", DROP, |pools| {
            (0..4).for_each(|_| _ = pools.0.trim())
        }),
        ("drop where a limit refuses", DROP, |_| {
            let pool = Pool::builder(Object::new).max_idle(1).build();
            drop([pool.get(), pool.get()]);
        }),
        ("drop at the end of a pool", DROP, |_| {
            let pool = Pool::builder(Object::new).build();
            drop(pool.get());
        }),
    ];
    for (what, which, act) in acts {
        let pools = pools(None);
        drop((0..100).map(|_| pools.0.get()).collect::<Vec<_>>());
        let there = pools.clone();
        WAITING.store(which, SeqCst);
        let thread = start(move || act(&there));
        assert!(!thread.is_finished(), "{what}: not called");
        fork_now(what, &pools);
        go_on(thread);
        is_well(&pools);
    }
}

#[test]
fn a_fork_while_the_janitor_is_in_a_destructor_leaves_pools_usable() {
    let _turn = alone();
    let pools = pools(Some(Duration::from_millis(5)));
    WAITS.store(false, SeqCst);
    GO_ON.store(false, SeqCst);
    WAITING.store(DROP, SeqCst);
    drop(pools.0.get());
    eventually("the janitor drops it", || WAITS.load(SeqCst));
    fork_now("in the janitor", &pools);
    let end = child::run(60, false, || {
        // The child's own janitor takes over.
        drop((0..100).map(|_| pools.0.get()).collect::<Vec<_>>());
        eventually("trimmed in the child", || pools.0.stats().idle == 0);
        0
    });
    assert_eq!(end, End::Code(0));
    GO_ON.store(true, SeqCst);
    eventually("trimmed in the parent", || pools.0.stats().idle == 0);
}

/// Also from within: the child continues where its parent was, in the middle of a callback.
#[test]
fn a_child_that_was_forked_inside_a_callback_comes_out_of_it() {
    let _turn = alone();
    let (tell, told) = mpsc::channel();
    let create = move || {
        let tell = tell.clone();
        let end = child::run(60, false, move || {
            let nested: Pool<Vec<u8>> = Pool::new(Vec::new);
            drop([nested.get(), nested.get()]);
            i32::from(nested.stats().idle != 2)
        });
        tell.send(end).expect("received below");
        7_u32
    };
    let pool = Pool::builder(create).build();
    assert_eq!(*pool.get(), 7);
    assert_eq!(told.recv(), Ok(End::Code(0)));
}
