//! An arena held over `.await` on tokio's multi-thread runtime.

use super::{Arena, ArenaPool, fill};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

/// A tree whose parts are in the arena.
#[derive(Debug)]
struct Tree<'a> {
    name: &'a str,
    children: &'a [Tree<'a>],
}

fn grow<'a>(arena: &'a Arena, depth: usize) -> Tree<'a> {
    let name = bumpalo::format!(in arena, "node {}", depth).into_bump_str();
    let children = if depth == 0 { 0 } else { 2 };
    Tree {
        name,
        children: arena.alloc_slice_fill_with(children, |_| grow(arena, depth - 1)),
    }
}

fn count(tree: &Tree<'_>) -> usize {
    assert!(tree.name.starts_with("node "));
    1 + tree.children.iter().map(count).sum::<usize>()
}

static ARENAS: ArenaPool = ArenaPool::new();

/// Owns its arena, holds a tree in it over each `.await`, and allocates in between.
async fn request(seen: &'static Mutex<BTreeSet<String>>, id: usize) -> usize {
    let arena = ARENAS.get();
    let tree: &Tree<'_> = arena.alloc(grow(&arena, 1 + id % 6));
    let mut nodes = 0;
    for _ in 0..5 {
        tokio::task::yield_now().await;
        let here = format!("{:?}", thread::current().id());
        seen.lock().expect("no task panics").insert(here);
        nodes = *arena.alloc(count(tree));
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_arena_is_held_over_await_and_moves_between_threads() {
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let tasks: Vec<_> = (0..2_000)
        .map(|id| tokio::spawn(request(&SEEN, id)))
        .collect();
    for (id, task) in tasks.into_iter().enumerate() {
        let nodes = task.await.expect("no panic");
        assert_eq!(nodes, (1 << (2 + id % 6)) - 1);
    }
    let stats = ARENAS.stats();
    assert_eq!(stats.in_use, 0);
    assert_eq!(stats.created + stats.reused, 2_000);
    let threads = SEEN.lock().expect("no task panics").len();
    assert!(threads >= 2, "nothing moved between threads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_request_gives_its_arena_back() {
    static CANCELLED: ArenaPool = ArenaPool::new();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let arena = CANCELLED.get();
        fill(&arena, 10_000);
        started.send(()).expect("the test waits");
        std::future::pending::<()>().await;
        drop(arena);
    });
    has_started.await.expect("the task sends before it waits");
    assert_eq!(CANCELLED.stats().in_use, 1);
    task.abort();
    assert!(task.await.expect_err("it was cancelled").is_cancelled());
    let stats = CANCELLED.stats();
    assert_eq!((stats.in_use, stats.idle), (0, 1));
}
