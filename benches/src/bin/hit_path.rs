//! Runs one loop a given number of times, for `ci/hit-path.sh` to count its instructions.
//!
//! Usage: `hit_path NAME ROUNDS`. The `control_*` loops do what the hit path must not do: the
//! checker has to reject each, or it checks nothing.

use repool_bench as bench;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering, fence};

static COUNTER: AtomicU64 = AtomicU64::new(0);

#[unsafe(no_mangle)]
#[inline(never)]
fn control_lock(n: u64) {
    for _ in 0..n {
        COUNTER.fetch_add(black_box(1), Ordering::Relaxed);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn control_xchg(n: u64) {
    for _ in 0..n {
        black_box(COUNTER.swap(black_box(1), Ordering::Relaxed));
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn control_fence(n: u64) {
    for i in 0..n {
        fence(Ordering::SeqCst);
        // Otherwise the fences become one.
        black_box(i);
    }
}

/// `fence` may be compiled to a locked instruction.
#[unsafe(no_mangle)]
#[inline(never)]
fn control_mfence(n: u64) {
    for i in 0..n {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: has no operands, and exists on every x86-64.
        unsafe {
            std::arch::asm!("mfence", options(nostack, preserves_flags));
        }
        black_box(i);
    }
}

#[inline(never)]
fn callee(n: u64) -> u64 {
    black_box(n)
}

#[unsafe(no_mangle)]
#[inline(never)]
fn control_call(n: u64) {
    for i in 0..n {
        black_box(callee(i));
    }
}

/// The forbidden instruction runs only now and then: a checker that only looks at the common path
/// would accept it.
#[unsafe(no_mangle)]
#[inline(never)]
fn control_rare(n: u64) {
    for i in 0..n {
        if black_box(i) % 64 == 63 {
            COUNTER.fetch_add(black_box(1), Ordering::Relaxed);
        }
    }
}

type Loop = fn(u64);

const LOOPS: [(&str, Loop); 20] = [
    ("repool_bench_vec", bench::repool_bench_vec),
    ("repool_bench_held_fifo", bench::repool_bench_held_fifo),
    ("repool_bench_held_lifo", bench::repool_bench_held_lifo),
    ("repool_bench_user", bench::repool_bench_user),
    ("repool_bench_user_held", bench::repool_bench_user_held),
    ("repool_bench_arena", bench::repool_bench_arena),
    ("repool_bench_arena_off", bench::repool_bench_arena_off),
    ("repool_bench_plain_arena", bench::repool_bench_plain_arena),
    ("repool_bench_bare_arena", bench::repool_bench_bare_arena),
    ("repool_bench_buffer", bench::repool_bench_buffer),
    ("repool_bench_frozen", bench::repool_bench_frozen),
    ("repool_bench_bare", bench::repool_bench_bare),
    ("repool_bench_cell", bench::repool_bench_cell),
    ("repool_bench_plain", bench::repool_bench_plain),
    ("control_lock", control_lock),
    ("control_xchg", control_xchg),
    ("control_fence", control_fence),
    ("control_mfence", control_mfence),
    ("control_call", control_call),
    ("control_rare", control_rare),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let run = args
        .next()
        .and_then(|name| LOOPS.iter().find(|(known, _)| *known == name))
        .zip(args.next().and_then(|rounds| rounds.parse().ok()));
    let Some((&(_, run), rounds)) = run else {
        eprintln!("usage: hit_path NAME ROUNDS, where NAME is one of");
        for (name, _) in LOOPS {
            eprintln!("  {name}");
        }
        return ExitCode::FAILURE;
    };
    run(rounds);
    ExitCode::SUCCESS
}
