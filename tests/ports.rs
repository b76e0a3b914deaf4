//! Tests of other pools, and of `bytes`, run on this crate under their names there. (bumpalo's are
//! in `arenas/bumpalo.rs`.) Where this crate promises more, the test checks that. A claim that
//! holds for every Rust program, or has no counterpart here, is left out, and the module says so.
#![cfg(all(feature = "bumpalo", feature = "bytes"))]

#[path = "ports/bytes.rs"]
mod bytes;
#[path = "ports/go.rs"]
mod go;
#[path = "ports/others.rs"]
mod others;

/// How often; under Miri, `miri` times.
const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Numbers that are never used twice, and the number of their living objects.
#[derive(Clone, Debug, Default)]
struct Census(Arc<(AtomicUsize, AtomicUsize)>);

/// An object that knows its number.
#[derive(Debug)]
struct Numbered {
    number: usize,
    census: Census,
}

impl Census {
    fn make(&self) -> Numbered {
        let number = self.0.0.fetch_add(1, SeqCst);
        self.0.1.fetch_add(1, SeqCst);
        Numbered {
            number,
            census: self.clone(),
        }
    }

    fn made(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    fn alive(&self) -> usize {
        self.0.1.load(SeqCst)
    }

    /// A pool of such objects, whose passes the test runs.
    fn pool(&self) -> repool::Pool<Numbered> {
        let census = self.clone();
        repool::Pool::builder(move || census.make())
            .trim_manually()
            .build()
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.census.0.1.fetch_sub(1, SeqCst);
    }
}

impl repool::Recycle for Numbered {
    fn recycle(&mut self) {}
}
