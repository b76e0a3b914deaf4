//! The two pools that an arena pool is made of: its regions, and shells that hold what was made while it was
//! switched off.

use super::region::Region;
use super::sizes::{FIRST, Sizes};
use crate::object::builder::Builder;
use crate::object::pool::Pool;
use crate::object::recipe::Recipe;
use crate::object::settings::{Role, Settings};
use crate::sync::rare::Arc;

/// The pools of regions and of shells.
pub(super) fn pools(
    mut settings: Settings,
    first_chunk: usize,
) -> (Builder<Region>, Builder<Region>) {
    // The pool is told as well that no larger arena is kept than by either limit: what it refuses
    // for its weight alone leaves no trace in a thread's share.
    let limit = settings.largest_kept();
    settings.set_max_object_bytes(limit);
    let sizes = Arc::new(Sizes::new(first_chunk, limit));
    let [of_regions, of_shells] = [(); 2].map(|()| Arc::clone(&sizes));
    let for_shells = settings.for_shells();
    settings.set_role(Role::Regions, None);
    let shells = Pool::builder(move || Region::shell(Arc::clone(&of_shells)))
        .settings(for_shells)
        .heap_only();
    let regions = Pool::builder(move || Region::new(Arc::clone(&of_regions)))
        .settings(settings)
        .heap_only()
        .on_pass(move || {
            sizes.pass();
            false
        });
    (regions, shells)
}

/// How the first use of a `const` pool makes its inside.
pub(super) fn of_regions() -> Arc<Recipe<Region>> {
    pools(Settings::default(), FIRST).0.recipe()
}

/// The same of its shells.
pub(super) fn of_shells() -> Arc<Recipe<Region>> {
    pools(Settings::default(), FIRST).1.recipe()
}
