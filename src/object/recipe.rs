//! [`Recipe`]: how a pool's objects are made, reset and weighed, and the settings they live under.
//!
//! Builders make one; a `const` pool keeps a [`Source`], from which its first use makes it. A pool
//! and its core share the recipe, which is never changed: closures are called through `&Recipe`.

use crate::object::recycle::{Recycle, known_weight};
use crate::object::settings::Settings;
use crate::raw::limits::Limits;
use crate::sync::rare::Arc;

/// Resets an object; its weight then, or [`DROP_IT`]. User code: may panic.
pub(crate) type Reset<T> = fn(&Recipe<T>, &mut T) -> usize;

/// What a reset says of an object that is not to be kept.
pub(crate) const DROP_IT: usize = usize::MAX;

/// Runs at the start of each pass, with nothing held; `true` if it wants to see the next pass even
/// if nothing is idle.
pub(crate) type OnPass = Box<dyn Fn() -> bool + Send + Sync>;

type Closure<T> = Box<dyn Fn(&mut T) -> bool + Send + Sync>;
type Weigh<T> = Box<dyn Fn(&T) -> usize + Send + Sync>;

/// How objects are made, reset and weighed.
pub(crate) struct Recipe<T> {
    create: Create<T>,
    reset: Reset<T>,
    /// What [`by_closure`] calls.
    closure: Option<Closure<T>>,
    /// The user's, instead of what the reset says.
    weigh: Option<Weigh<T>>,
    on_pass: Option<OnPass>,
    /// What an object takes besides what it holds on the heap.
    object_bytes: usize,
    pub(crate) settings: Settings,
}

enum Create<T> {
    Function(fn() -> T),
    Closure(Box<dyn Fn() -> T + Send + Sync>),
}

impl<T: 'static> Recipe<T> {
    /// Objects made by `create`; whoever goes on says how they are reset.
    pub(crate) fn new(create: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self::with(Create::Closure(Box::new(create)), by_closure)
    }

    fn with(create: Create<T>, reset: Reset<T>) -> Self {
        Self {
            create,
            reset,
            closure: None,
            weigh: None,
            on_pass: None,
            object_bytes: size_of::<T>(),
            settings: Settings::default(),
        }
    }

    pub(crate) fn set_reset(&mut self, reset: Reset<T>) {
        self.reset = reset;
    }

    pub(crate) fn set_closure(&mut self, reset: impl Fn(&mut T) -> bool + Send + Sync + 'static) {
        self.closure = Some(Box::new(reset));
        self.reset = by_closure;
    }

    pub(crate) fn set_weigh(&mut self, weigh: impl Fn(&T) -> usize + Send + Sync + 'static) {
        self.weigh = Some(Box::new(weigh));
    }

    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn set_on_pass(&mut self, on_pass: impl Fn() -> bool + Send + Sync + 'static) {
        self.on_pass = Some(Box::new(on_pass));
    }

    /// Objects weigh what they hold on the heap and no more.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn set_heap_only(&mut self) {
        self.object_bytes = 0;
    }

    pub(crate) fn limits(&self) -> Limits {
        self.settings.limits().with_object_bytes(self.object_bytes)
    }

    /// Makes an object. User code.
    #[inline]
    pub(crate) fn create(&self) -> T {
        match &self.create {
            Create::Function(create) => create(),
            Create::Closure(create) => create(),
        }
    }

    pub(crate) fn reset(&self) -> Reset<T> {
        self.reset
    }

    /// Whether the user says how objects are reset or weighed, so that no return may do it as the
    /// type does.
    pub(crate) fn is_foreign(&self) -> bool {
        self.closure.is_some() || self.weigh.is_some()
    }

    /// What a pass has to do besides. User code.
    pub(crate) fn on_pass(&self) -> bool {
        self.on_pass.as_ref().is_some_and(|on_pass| on_pass())
    }
}

/// By [`Recycle`].
pub(crate) fn by_recycle<T: Recycle>(_: &Recipe<T>, object: &mut T) -> usize {
    object.recycle();
    object.retained_bytes().min(DROP_IT - 1)
}

/// By the user's closures. Without a reset nothing is kept.
pub(crate) fn by_closure<T: 'static>(recipe: &Recipe<T>, object: &mut T) -> usize {
    if !recipe.closure.as_ref().is_some_and(|reset| reset(object)) {
        return DROP_IT;
    }
    let weight = match &recipe.weigh {
        Some(weigh) => weigh(object),
        None => known_weight(object),
    };
    weight.min(DROP_IT - 1)
}

/// Where a pool's recipe comes from.
pub(crate) enum Source<T> {
    /// From functions, for `const` pools.
    Functions {
        create: fn() -> T,
        reset: Reset<T>,
        /// The user's reset, if it is not [`Recycle`]'s.
        closure: Option<fn(&mut T) -> bool>,
    },
    /// For pools that are `const` and still have something of their own to make. Threads that race
    /// for the first use make one each, and all but one are dropped.
    #[cfg(feature = "bumpalo")]
    Deferred(fn() -> Recipe<T>),
    Built(Arc<Recipe<T>>),
}

impl<T: 'static> Source<T> {
    /// The recipe, if it is there already.
    pub(crate) fn built(&self) -> Option<&Recipe<T>> {
        match self {
            Self::Built(recipe) => Some(recipe),
            _ => None,
        }
    }

    /// The recipe, made now if it has to be.
    pub(crate) fn recipe(&self) -> Arc<Recipe<T>> {
        match self {
            Self::Functions {
                create,
                reset,
                closure,
            } => {
                let mut recipe = Recipe::with(Create::Function(*create), *reset);
                if let Some(closure) = *closure {
                    recipe.set_closure(closure);
                }
                Arc::new(recipe)
            }
            #[cfg(feature = "bumpalo")]
            Self::Deferred(make) => Arc::new(make()),
            Self::Built(recipe) => Arc::clone(recipe),
        }
    }
}
