//! `Pool::new` with a foreign type.
use repool::Pool;

struct Foreign;

static POOL: Pool<Foreign> = Pool::new(|| Foreign);

fn main() {
    drop(POOL.get());
}
