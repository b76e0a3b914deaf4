//! The typed part of a core: what a node holds, how objects are made, reset and dropped.
//!
//! A [`Shell`] is a core with the user's settings behind it, in one allocation; the untyped core
//! reaches the typed part through its vtable. A [`Node`] is a `Link` with an object behind it.

use crate::object::builder::Settings;
use crate::object::guard::Pooled;
use crate::object::recycle::{Recycle, is_inlined};
use crate::raw::node::Link;
use crate::raw::pool::{Core, VTable};
use crate::sync::rare::Arc;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{self, NonNull};

/// Resets an object; its weight then, or [`DROP_IT`]. The core is the head of the `Shell<T>`.
pub(crate) type Reset<T> = unsafe fn(*const Core, &mut T) -> usize;

/// What a reset says of an object that is not to be kept.
pub(crate) const DROP_IT: usize = usize::MAX;

/// By [`Recycle`].
///
/// # Safety
/// None: it has the type of those that need the core.
pub(crate) unsafe fn own_reset<T: Recycle>(_core: *const Core, object: &mut T) -> usize {
    object.recycle();
    object.retained_bytes().min(DROP_IT - 1)
}

/// By the builder's closures.
///
/// # Safety
/// As [`Shell::payload`], of a pool that has them.
pub(crate) unsafe fn custom_reset<T: Send + 'static>(core: *const Core, object: &mut T) -> usize {
    // SAFETY: the caller's.
    let payload = unsafe { Shell::<T>::payload(core) };
    let Some(custom) = &payload.custom else {
        unreachable!("a reset of its own")
    };
    if (custom.reset)(object) {
        (custom.weigh)(object).min(DROP_IT - 1)
    } else {
        DROP_IT
    }
}

/// The heap cell of an object. The untyped part is its head.
#[repr(C)]
pub(crate) struct Node<T> {
    link: Link,
    pub(crate) value: T,
}

impl<T: Send + 'static> Node<T> {
    /// Takes the value out and frees the node.
    ///
    /// # Safety
    /// The caller holds the node and gives it up.
    pub(crate) unsafe fn into_value(node: *mut Node<T>) -> T {
        // SAFETY: the caller holds the node.
        let core = unsafe { Link::core(node.cast()) };
        // SAFETY: the node keeps its core alive.
        unsafe { (*core).counters.taken() };
        let memory = NodeMemory { node, core };
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw const (*node).value };
        // SAFETY: the value is there, and the node is not used again: `memory` only frees it.
        let value = unsafe { value.read() };
        drop(memory);
        value
    }

    /// For the vtable.
    ///
    /// # Safety
    /// As [`Node::into_value`].
    unsafe fn drop_node(core: *const Core, link: *mut Link) {
        let node = link.cast::<Node<T>>();
        // Also when the destructor panics.
        let _memory = NodeMemory { node, core };
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw mut (*node).value };
        // SAFETY: the value is there, and nobody else has the node.
        unsafe { ptr::drop_in_place(value) };
    }
}

/// Frees a node whose value is gone, then its reference to the core.
struct NodeMemory<T> {
    node: *mut Node<T>,
    core: *const Core,
}

impl<T> Drop for NodeMemory<T> {
    fn drop(&mut self) {
        // SAFETY: allocated as a box in `Shell::guard`, value gone.
        drop(unsafe { Box::from_raw(self.node.cast::<MaybeUninit<Node<T>>>()) });
        // SAFETY: the node's reference, given up with it.
        unsafe { Core::release(self.core) };
    }
}

/// A core with what it needs of its type; the core is its head.
#[repr(C)]
pub(crate) struct Shell<T: Send + 'static> {
    core: Core,
    /// The payload's, for the hit path.
    reset: Reset<T>,
    payload: ManuallyDrop<Arc<Payload<T>>>,
}

/// What the user's settings come to; made by the builder, or by the first use of a `const` pool.
pub(crate) struct Payload<T> {
    pub(crate) reset: Reset<T>,
    pub(crate) custom: Option<Custom<T>>,
    pub(crate) create: Create<T>,
    pub(crate) on_pass: Option<OnPass>,
    pub(crate) settings: Settings,
}

/// Runs at the start of each pass, with nothing held; `true` if it wants to see the next pass even
/// if nothing is idle.
pub(crate) type OnPass = Box<dyn Fn() -> bool + Send + Sync>;

pub(crate) enum Create<T> {
    Plain(fn() -> T),
    Boxed(Box<dyn Fn() -> T + Send + Sync>),
}

pub(crate) struct Custom<T> {
    pub(crate) reset: Box<dyn Fn(&mut T) -> bool + Send + Sync>,
    pub(crate) weigh: Weigh<T>,
}

pub(crate) type Weigh<T> = Box<dyn Fn(&T) -> usize + Send + Sync>;

impl<T: Send + 'static> Shell<T> {
    const VTABLE: &'static VTable = &VTable {
        drop_node: Node::<T>::drop_node,
        drop_payload: Self::drop_payload,
        on_pass: Self::on_pass,
        free: Self::free,
    };

    pub(crate) fn allocate(payload: Arc<Payload<T>>) -> *mut Core {
        // The hit path of a return would use the inlined reset.
        let slow_returns = payload.custom.is_some() && is_inlined::<T>();
        let settings = &payload.settings;
        let core = Core::new(
            Self::VTABLE,
            settings.limits(),
            slow_returns,
            settings.interval,
        );
        let reset = payload.reset;
        let shell = Box::new(Self {
            core,
            reset,
            payload: ManuallyDrop::new(payload),
        });
        let core = Box::into_raw(shell).cast::<Core>();
        // SAFETY: fresh, and nobody else knows it.
        unsafe { Core::settle(core) };
        core
    }

    /// # Safety
    /// `core` is the head of a live `Shell<T>` whose payload is there: a strong reference is held.
    unsafe fn payload<'a>(core: *const Core) -> &'a Payload<T> {
        // SAFETY: the caller's.
        unsafe { &(*core.cast::<Self>()).payload }
    }

    /// Makes an object.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    pub(crate) unsafe fn create(core: &Core) -> Pooled<T> {
        // SAFETY: the caller's.
        let payload = unsafe { Self::payload(core.address()) };
        let guard = match &payload.create {
            // SAFETY: the caller's.
            Create::Plain(create) => unsafe { Self::guard(core, create) },
            // SAFETY: the caller's.
            Create::Boxed(create) => unsafe { Self::guard(core, create) },
        };
        core.counters.created();
        guard
    }

    /// A guard with a new node, whose value is written in place. `value` may panic.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    pub(crate) unsafe fn guard(core: &Core, value: impl FnOnce() -> T) -> Pooled<T> {
        let mut memory = Box::<Node<T>>::new_uninit();
        let node = memory.as_mut_ptr();
        // SAFETY: in bounds of the box.
        let slot = unsafe { &raw mut (*node).value };
        // SAFETY: as above; nothing is there yet.
        unsafe { slot.write(value()) };
        // SAFETY: in bounds of the box.
        let head = unsafe { &raw mut (*node).link };
        // SAFETY: as above; nothing is there yet.
        unsafe { head.write(Link::new(core.orphan())) };
        core.retain();
        // SAFETY: a box is not null.
        let link = unsafe { NonNull::new_unchecked(Box::into_raw(memory).cast::<Link>()) };
        // SAFETY: the head of a node that nobody else knows.
        unsafe { Pooled::from_link(link) }
    }

    /// Resets an object; its weight, or [`DROP_IT`]. User code: may panic.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    #[inline(always)]
    pub(crate) unsafe fn reset(core: *const Core, object: &mut T) -> usize {
        // SAFETY: the caller's.
        let reset = unsafe { (*core.cast::<Self>()).reset };
        // SAFETY: the core is the head of the shell that this reset was put in.
        unsafe { reset(core, object) }
    }

    /// For the vtable.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    unsafe fn on_pass(core: *const Core) -> bool {
        // SAFETY: the caller's.
        unsafe {
            Self::payload(core)
                .on_pass
                .as_ref()
                .is_some_and(|on_pass| on_pass())
        }
    }

    /// For the vtable.
    ///
    /// # Safety
    /// The last strong reference is gone.
    unsafe fn drop_payload(core: *const Core) {
        let shell = core.cast_mut().cast::<Self>();
        // SAFETY: alive, since the weak reference of the strong ones is held.
        let payload = unsafe { &mut (*shell).payload };
        // SAFETY: nobody calls the closures any more; they are dropped once.
        unsafe { ManuallyDrop::drop(payload) };
    }

    /// For the vtable.
    ///
    /// # Safety
    /// The last reference is gone, and the payload.
    unsafe fn free(core: *const Core) {
        // SAFETY: allocated as a box in `allocate`; the last reference is gone.
        let mut shell = unsafe { Box::from_raw(core.cast_mut().cast::<Self>()) };
        // SAFETY: nobody uses the caches any more.
        unsafe { shell.core.free_buckets() };
    }
}
