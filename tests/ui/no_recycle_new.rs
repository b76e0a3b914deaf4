//! A pool of a foreign type by `Pool::new`.
use repool::Pool;

struct Foreign;

static POOL: Pool<Foreign> = Pool::new(|| Foreign);

fn main() {
    drop(POOL.get());
}
