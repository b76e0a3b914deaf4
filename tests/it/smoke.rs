use repool::{Pool, Pooled};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn threads_and_trim() {
    static LIVE: AtomicUsize = AtomicUsize::new(0);
    struct Tag(u64);
    impl Drop for Tag { fn drop(&mut self) { LIVE.fetch_sub(1, SeqCst); } }
    let pool = Arc::new(Pool::builder(|| { LIVE.fetch_add(1, SeqCst); Tag(7) }).reset(|t| { assert_eq!(t.0, 7); true }).build());
    let n = if cfg!(miri) { 200 } else { 100_000 };
    // Joined one by one: the end of a scope does not wait for thread-local destructors.
    let mut threads = Vec::new();
    {
        for _ in 0..4 {
            let (tx, rx) = std::sync::mpsc::sync_channel::<Pooled<Tag>>(16);
            let p = pool.clone();
            threads.push(std::thread::spawn(move || for _ in 0..n { let g = p.get(); let _h = p.get(); tx.send(g).unwrap(); }));
            let p = pool.clone();
            threads.push(std::thread::spawn(move || { for g in rx { drop(g); drop(p.try_get()); } }));
        }
        let p = pool.clone();
        threads.push(std::thread::spawn(move || for _ in 0..n / 100 { let _ = p.trim(); let _ = p.stats(); let _ = p.clear(); }));
    }
    for t in threads { t.join().unwrap(); }
    let s = pool.stats();
    println!("{s} {s:?}");
    assert_eq!(s.created, s.idle + s.discarded + s.trimmed);
    assert_eq!(s.idle as usize, LIVE.load(SeqCst));
    let g = pool.get();
    drop(pool);
    assert_eq!(LIVE.load(SeqCst), 1);
    drop(g);
    assert_eq!(LIVE.load(SeqCst), 0);
}

#[test]
fn bounded() {
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(100)).max_idle(10).max_idle_bytes(700).build();
    let all: Vec<_> = (0..50).map(|_| pool.get()).collect();
    drop(all);
    let s = pool.stats();
    println!("{s:?}");
    assert_eq!(s.idle, 7);
    assert_eq!(s.idle_bytes, 700);
    let all: Vec<_> = (0..50).map(|_| pool.get()).collect();
    assert_eq!(pool.stats().reused, 7);
    drop(all);
    assert_eq!(pool.stats().idle, 7);
    assert_eq!(pool.clear().objects, 7);
}
