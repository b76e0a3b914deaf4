//! [`Factory`]: how a pool creates, resets and weighs its objects, and the settings for them.
//!
//! A builder makes a factory; a `const` pool keeps a [`Source`], from which its first use makes one.
//! A pool and its core share the factory, which never changes: closures are called through
//! `&Factory`.

use crate::object::recycle::{Recycle, is_inlined, known_use, known_weight};
use crate::object::settings::{Role, Settings};
use crate::object::word_copy;
use crate::raw::limits::Limits;
use crate::raw::stats::Reason;
use crate::sync::rare::Arc;
use std::any::type_name;
use std::mem::{MaybeUninit, needs_drop};

/// Resets an object and returns its weight, or [`DROP_IT`]. User code: may panic.
pub(crate) type Reset<T> = fn(&Factory<T>, &mut T) -> usize;

/// Returned by a reset if the object must not be kept.
pub(crate) const DROP_IT: usize = usize::MAX;

/// Called at the start of each pass, with nothing locked. Returns `true` if it needs the next pass
/// even if nothing is idle.
pub(crate) type OnPass = Box<dyn Fn() -> bool + Send + Sync>;

type Closure<T> = Box<dyn Fn(&mut T) -> bool + Send + Sync>;

/// What an object holds on the heap.
enum Weigh<T> {
    /// The figure that the reset returns, or unknown.
    Unsaid,
    Type(fn(&T) -> usize),
    Closure(Box<dyn Fn(&T) -> usize + Send + Sync>),
}

/// Creates an object in place, because the result of a closure would have to be copied. Writes a
/// value, or panics.
pub(crate) type Fill<T> = Box<dyn Fn(&mut MaybeUninit<T>) + Send + Sync>;

fn in_place<T>(create: impl Fn() -> T + Send + Sync + 'static) -> Fill<T> {
    Box::new(move |slot| _ = slot.write(create()))
}

/// How a pool creates, resets and weighs its objects.
pub(crate) struct Factory<T> {
    create: Fill<T>,
    reset: Reset<T>,
    /// The closure called by [`by_closure`].
    closure: Option<Closure<T>>,
    weigh: Weigh<T>,
    /// How much of an object is used; [`known_use`] if this is `None`.
    used: Option<fn(&T) -> usize>,
    /// Boxed twice, because it is present in few pools only.
    on_pass: Option<Box<OnPass>>,
    /// What an object takes besides what it holds on the heap, in bytes.
    object_bytes: usize,
    pub(crate) settings: Settings,
}

impl<T: 'static> Factory<T> {
    /// Objects are created by `create`. The caller then sets how they are reset.
    pub(crate) fn new(create: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self::of(in_place(create))
    }

    fn of(create: Fill<T>) -> Self {
        Self {
            create,
            reset: by_closure,
            closure: None,
            weigh: Weigh::Unsaid,
            used: None,
            on_pass: None,
            object_bytes: size_of::<T>(),
            settings: Settings::default(),
        }
    }

    /// Objects are reset by [`Recycle`], and weighed by it unless the user has set a closure.
    pub(crate) fn set_recycle(&mut self)
    where
        T: Recycle,
    {
        self.reset = if let Weigh::Closure(_) = self.weigh {
            by_recycle_weighed
        } else {
            by_recycle
        };
        self.set_recycles_weights();
    }

    /// Objects are weighed by [`Recycle`] unless the user has set a closure.
    pub(crate) fn set_recycles_weights(&mut self)
    where
        T: Recycle,
    {
        if let Weigh::Unsaid = self.weigh {
            self.weigh = Weigh::Type(T::retained_bytes);
        }
        self.used = Some(T::used_bytes);
    }

    /// # Panics
    /// If there is a limit in bytes and the weight of objects is unknown.
    pub(crate) fn check_weights(&self) {
        assert!(
            !self.is_unweighed() || !self.settings.limits_bytes(),
            "a limit in bytes (`max_idle_bytes`, `max_object_bytes`, `budget`) needs the heap bytes of a \
             `{}`: return them from `.retained_bytes(|object| ..)`",
            type_name::<T>()
        );
    }

    /// Returns whether nothing is known of what objects hold on the heap.
    fn is_unweighed(&self) -> bool {
        // A type without a destructor owns nothing on the heap.
        matches!(self.weigh, Weigh::Unsaid) && !is_inlined::<T>() && needs_drop::<T>()
    }

    pub(crate) fn set_closure(&mut self, reset: impl Fn(&mut T) -> bool + Send + Sync + 'static) {
        self.closure = Some(Box::new(reset));
        self.reset = by_closure;
    }

    pub(crate) fn set_weigh(&mut self, weigh: impl Fn(&T) -> usize + Send + Sync + 'static) {
        self.weigh = Weigh::Closure(Box::new(weigh));
    }

    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn set_on_pass(&mut self, on_pass: impl Fn() -> bool + Send + Sync + 'static) {
        self.on_pass = Some(Box::new(Box::new(on_pass)));
    }

    /// For pools made of pools, which manage sizes themselves: objects weigh what they hold on the
    /// heap and no more, and their use is not asked for.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn set_heap_only(&mut self) {
        self.object_bytes = 0;
        self.settings.set_drops_underused(false);
    }

    pub(crate) fn limits(&self) -> Limits {
        let limits = self
            .settings
            .limits()
            .with_object_bytes(self.object_bytes)
            .with_unweighed(self.is_unweighed());
        if self.watches_use() {
            limits.with_use_checked()
        } else {
            limits
        }
    }

    /// Creates an object. User code: writes a value, or panics.
    #[inline]
    pub(crate) fn create(&self, slot: &mut MaybeUninit<T>) {
        (self.create)(slot);
    }

    pub(crate) fn reset(&self) -> Reset<T> {
        self.reset
    }

    fn weight(&self, object: &T) -> usize {
        let weight = match &self.weigh {
            Weigh::Closure(weigh) => weigh(object),
            // Like the case below, without the call.
            _ if is_inlined::<T>() => known_weight(object),
            Weigh::Type(weigh) => weigh(object),
            Weigh::Unsaid => 0,
        };
        weight.min(DROP_IT - 1)
    }

    /// Returns whether the use of an object matters and is known.
    fn watches_use(&self) -> bool {
        self.settings.drops_underused() && (self.used.is_some() || is_inlined::<T>())
    }

    /// Returns what a new object holds on the heap, if that matters. User code.
    pub(crate) fn weight_of_new(&self, object: &T) -> Option<usize> {
        self.watches_use().then(|| self.weight(object))
    }

    /// Returns the heap bytes of an object's content; `usize::MAX` if unknown. User code.
    pub(crate) fn used_bytes(&self, object: &T) -> usize {
        match self.used {
            Some(used) => used(object),
            None => known_use(object),
        }
    }

    /// Returns whether the user has set a reset or a weight, so no return may use the type's own.
    pub(crate) fn is_foreign(&self) -> bool {
        self.closure.is_some() || matches!(self.weigh, Weigh::Closure(_))
    }

    /// Returns why a reset returned [`DROP_IT`].
    pub(crate) fn why_dropped(&self) -> Reason {
        if self.closure.is_some() {
            Reason::Reset
        } else {
            Reason::Oversize
        }
    }

    /// Runs the pool's own work at the start of a pass. User code.
    pub(crate) fn on_pass(&self) -> bool {
        self.on_pass.as_ref().is_some_and(|on_pass| on_pass())
    }
}

/// Resets and weighs with [`Recycle`].
fn by_recycle<T: Recycle>(_: &Factory<T>, object: &mut T) -> usize {
    object.recycle();
    // `usize::MAX` has two meanings here; see `why_dropped`.
    object.retained_bytes()
}

/// Resets with [`Recycle`] and weighs with the user's closure.
fn by_recycle_weighed<T: Recycle + 'static>(factory: &Factory<T>, object: &mut T) -> usize {
    object.recycle();
    factory.weight(object)
}

/// Resets and weighs with the user's closures. Without a reset nothing is kept.
fn by_closure<T: 'static>(factory: &Factory<T>, object: &mut T) -> usize {
    if !factory.closure.as_ref().is_some_and(|reset| reset(object)) {
        return DROP_IT;
    }
    factory.weight(object)
}

/// Where a pool's factory comes from.
pub(crate) enum Source<T> {
    /// From functions, for `const` pools.
    Functions {
        name: Option<&'static str>,
        create: fn() -> T,
        reset: ConstReset<T>,
    },
    /// For `const` pools that still have to create something. Threads that race for the first use
    /// make one each, and all but one are dropped.
    #[allow(dead_code, reason = "for arenas, which are a feature")]
    Deferred {
        name: Option<&'static str>,
        role: Role,
        make: fn() -> Arc<Factory<T>>,
    },
    Built(Arc<Factory<T>>),
}

/// How the objects of a `const` pool are reset.
pub(crate) enum ConstReset<T> {
    /// By [`Recycle`], as set by this function.
    Own(fn(&mut Factory<T>)),
    /// By the user's function.
    Custom(fn(&mut T) -> bool),
}

impl<T: 'static> Source<T> {
    /// Returns the pool's name.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Functions { name, .. } => *name,
            Self::Deferred { name, .. } => *name,
            Self::Built(factory) => factory.settings.name(),
        }
    }

    /// Returns whether the pool, or the whole it belongs to, is in the registry of named pools.
    pub(crate) fn is_listed(&self) -> bool {
        let is_part = matches!(self, Self::Built(factory) if factory.settings.is_part());
        !is_part && self.name().is_some()
    }

    /// Returns whether the environment switches the pool off.
    pub(crate) fn is_off(&self) -> bool {
        match self {
            Self::Functions { name, .. } => Role::Whole.is_off(*name),
            Self::Deferred { name, role, .. } => role.is_off(*name),
            Self::Built(factory) => factory.settings.is_off(),
        }
    }

    /// Creates an object without the detour over the core's factory, if it is small and made by a
    /// function. User code: writes a value, or panics.
    #[inline(always)]
    pub(crate) fn create<'a>(
        &self,
        of_core: impl FnOnce() -> &'a Factory<T>,
        slot: &mut MaybeUninit<T>,
    ) {
        match self {
            Self::Functions { create, .. } if word_copy::is_small::<T>() => {
                word_copy::write(slot, create());
            }
            _ => of_core().create(slot),
        }
    }

    /// Returns the factory, and makes it if necessary.
    pub(crate) fn factory(&self) -> Arc<Factory<T>> {
        match self {
            Self::Functions {
                name,
                create,
                reset,
            } => {
                let create = *create;
                let mut factory =
                    Factory::of(Box::new(move |slot| word_copy::write(slot, create())));
                match reset {
                    ConstReset::Own(set_recycle) => set_recycle(&mut factory),
                    ConstReset::Custom(reset) => factory.set_closure(*reset),
                }
                if let Some(name) = name {
                    factory.settings.set_name(*name);
                }
                Arc::new(factory)
            }
            Self::Deferred { name, role, make } => {
                let mut factory = make();
                let settings = Arc::get_mut(&mut factory).map(|factory| &mut factory.settings);
                settings.expect("just made").set_role(*role, *name);
                factory
            }
            Self::Built(factory) => Arc::clone(factory),
        }
    }
}
