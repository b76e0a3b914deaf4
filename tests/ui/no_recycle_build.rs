//! A builder of a foreign type, without a reset.
use repool::Pool;

struct Foreign;

fn main() {
    let _ = Pool::builder(|| Foreign).max_idle(10).build();
}
