//! A pool of a foreign type by a builder without a reset.
use repool::Pool;

struct Foreign;

fn main() {
    let _ = Pool::builder(|| Foreign).max_idle(10).build();
}
