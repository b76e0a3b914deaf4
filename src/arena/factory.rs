//! The pool of bump allocators that an arena pool is made of.

use super::pooled_bump::PooledBump;
use super::sizes::{FIRST, Sizes};
use crate::object::builder::Builder;
use crate::object::factory::Factory;
use crate::object::pool::Pool;
use crate::object::settings::{Role, Settings};
use crate::sync::rare::Arc;

/// Returns the builder of the pool of bump allocators.
pub(super) fn pool(mut settings: Settings, first_chunk: usize) -> Builder<PooledBump> {
    // Tells the pool as well that it keeps no arena above either limit: a return that the pool
    // refuses for its weight alone leaves no trace in the thread's charge.
    let limit = settings.largest_kept();
    settings.set_max_object_bytes(limit);
    settings.set_role(Role::Arenas, None);
    let sizes = Arc::new(Sizes::new(first_chunk, limit));
    let of_arenas = Arc::clone(&sizes);
    Pool::builder(move || PooledBump::new(Arc::clone(&of_arenas)))
        .settings(settings)
        .heap_only()
        .on_pass(move || {
            sizes.pass();
            false
        })
}

/// Makes the factory for the first use of a `const` pool.
pub(super) fn default() -> Arc<Factory<PooledBump>> {
    pool(Settings::default(), FIRST).factory()
}
