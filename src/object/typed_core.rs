//! The typed part of a core: what a node holds, and how a core reaches its [`Factory`].
//!
//! A [`TypedCore`] is one allocation: a core, followed by what depends on `T`. The untyped core reaches
//! the typed part through its vtable. A [`Node`] is a `Link` followed by an object. A pool's node
//! lives in its own [`Block`]; `unpooled.rs` has the unpooled nodes.

use crate::object::diagnostics::slot::Slot;
use crate::object::factory::{Factory, Reset};
use crate::object::memory::{Block, Room};
use crate::object::recycle::is_inlined;
use crate::object::unpooled::{UnpooledNode, is_no_core};
use crate::raw::depots::in_this_process;
use crate::raw::node::Link;
use crate::raw::pool::{Core, VTable};
use crate::raw::refs::DiscardOnDrop;
use crate::raw::stats::Reason;
use crate::sync::rare::Arc;
use crate::thread::{local, slow};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// The heap cell of an object. The untyped [`Link`] is its head.
#[repr(C)]
pub(crate) struct Node<T> {
    link: Link,
    pub(crate) value: T,
}

impl<T: Send + 'static> Node<T> {
    const ROOM: Room = Room::of::<Self, T>();

    /// Moves the value out and frees the node.
    ///
    /// # Safety
    /// The caller holds the node and gives it up.
    pub(crate) unsafe fn into_value(node: *mut Node<T>) -> T {
        // SAFETY: the caller holds the node.
        let core = unsafe { Core::of(node.cast()) };
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw const (*node).value };
        if is_no_core(core) {
            // SAFETY: the value is there, and the node is not used again: the unpooled node is then empty.
            let value = unsafe { value.read() };
            // SAFETY: an unpooled node, which the caller gives up.
            drop(unsafe { Self::unpooled_node(node.cast()) });
            return value;
        }
        // SAFETY: the node keeps its core alive.
        unsafe { (*core).counters.taken() };
        let memory = NodeMemory { node, core };
        // SAFETY: the value is there, and the node is not used again: `memory` only frees it.
        let value = unsafe { value.read() };
        drop(memory);
        value
    }

    /// Creates an unpooled node with the value that `fill` writes.
    ///
    /// # Safety
    /// `fill` writes a value, or panics.
    #[inline(always)]
    pub(crate) unsafe fn unpooled(fill: impl FnOnce(&mut MaybeUninit<T>)) -> NonNull<Link> {
        let unpooled = UnpooledNode::<Self>::take();
        // SAFETY: in bounds of the node.
        let slot = unsafe { &raw mut (*unpooled.node()).value };
        // SAFETY: as above; the slot is empty, and no other thread has the node.
        fill(unsafe { &mut *slot.cast::<MaybeUninit<T>>() });
        unpooled.into_raw()
    }

    /// Drops the value of an unpooled node and frees the node.
    ///
    /// # Safety
    /// As [`Node::unpooled_node`].
    #[inline(always)]
    pub(crate) unsafe fn drop_unpooled(link: *mut Link) {
        // SAFETY: guaranteed by the caller.
        let unpooled = unsafe { Self::unpooled_node(link) };
        // A value that is dropped elsewhere leaves its bytes in the node. Those of the inlined types are no secret.
        if !is_inlined::<T>() {
            // SAFETY: the value is there.
            return unsafe { Self::drop_in_place(unpooled) };
        }
        if !UnpooledNode::<Self>::has_room() {
            // SAFETY: as above.
            return unsafe { Self::drop_in_place_slow(unpooled) };
        }
        // The node goes first, so that the last thing to do is a jump to the destructor.
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw const (*unpooled.node()).value };
        // SAFETY: the value is there, and the node is empty from here on.
        let value = unsafe { value.read() };
        drop(unpooled);
        drop(value);
    }

    /// Drops the value of an unpooled node, and then the node, also if the destructor panics.
    ///
    /// # Safety
    /// The node holds a value.
    #[inline(always)]
    unsafe fn drop_in_place(unpooled: UnpooledNode<Self>) {
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw mut (*unpooled.node()).value };
        // SAFETY: guaranteed by the caller, and no other thread has the node.
        unsafe { ptr::drop_in_place(value) };
    }

    /// # Safety
    /// As [`Node::drop_in_place`].
    #[cold]
    #[inline(never)]
    unsafe fn drop_in_place_slow(unpooled: UnpooledNode<Self>) {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::drop_in_place(unpooled) };
    }

    /// # Safety
    /// The caller holds the node, which is unpooled, and gives it up.
    unsafe fn unpooled_node(link: *mut Link) -> UnpooledNode<Self> {
        // SAFETY: a node is not at null.
        let link = unsafe { NonNull::new_unchecked(link) };
        // SAFETY: from `unpooled`; the caller gives it up.
        unsafe { UnpooledNode::from_raw(link) }
    }

    /// For the vtable.
    ///
    /// # Safety
    /// As [`Node::into_value`].
    unsafe fn drop_node(core: *const Core, link: *mut Link) {
        let node = link.cast::<Node<T>>();
        // Frees the memory even if the destructor panics.
        let _memory = NodeMemory { node, core };
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw mut (*node).value };
        // SAFETY: the value is there, and no other thread has the node.
        unsafe { ptr::drop_in_place(value) };
    }
}

/// Frees a node whose value is gone, then its reference to the core.
struct NodeMemory<T: Send + 'static> {
    node: *mut Node<T>,
    core: *const Core,
}

impl<T: Send + 'static> Drop for NodeMemory<T> {
    fn drop(&mut self) {
        // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`, which the node keeps.
        unsafe { TypedCore::<T>::slot(self.core) }.freed(self.node.addr());
        // SAFETY: a node is not at null.
        let start = unsafe { NonNull::new_unchecked(self.node.cast()) };
        // SAFETY: from the block that `TypedCore::node` made; its value is gone.
        drop(unsafe { Block::from_raw(start, Node::<T>::ROOM) });
        // SAFETY: the node's reference, released with it.
        unsafe { Core::release(self.core) };
    }
}

/// The number of underused returns in a row after which a large object is dropped.
const MAX_UNDERUSES: u32 = 5;

/// A core with what it needs for its type; the core is its head.
#[repr(C)]
pub(crate) struct TypedCore<T: Send + 'static> {
    /// Its typed data are the factory's [`Reset<T>`], and the factory itself from `Arc::into_raw`.
    core: Core,
    slot: Slot,
    object: PhantomData<Arc<Factory<T>>>,
}

impl<T: Send + 'static> TypedCore<T> {
    const VTABLE: &'static VTable = &VTable {
        drop_node: Node::<T>::drop_node,
        drop_payload: Self::drop_factory,
        on_pass: Self::on_pass,
        name: Self::name,
        free: Self::free,
    };

    pub(crate) fn allocate(factory: Arc<Factory<T>>) -> *mut Core {
        // The hot path of a return would use the inlined reset.
        let slow_returns = factory.is_foreign() && is_inlined::<T>();
        let settings = &factory.settings;
        let diagnostics = settings.diagnostics();
        let interval = settings
            .interval()
            .filter(|_| !diagnostics.is_deterministic());
        let slot = Slot::new(diagnostics, settings.label::<T>());
        let mut core = Core::new(Self::VTABLE, factory.limits(), slow_returns, interval);
        let reset = factory.reset() as *mut ();
        if !slot.is_on() {
            core.set_depots(in_this_process());
        }
        core.set_of_type([reset, Arc::into_raw(factory).cast_mut().cast()]);
        if slot.is_on() {
            core.set_diagnostics();
        }
        let typed = Box::new(Self {
            core,
            slot,
            object: PhantomData,
        });
        let core = Box::into_raw(typed).cast::<Core>();
        // SAFETY: fresh, and unknown to any other thread.
        unsafe { Core::set_address(core) };
        core
    }

    /// # Safety
    /// `core` is the head of a live `TypedCore<T>` whose factory is there: a strong reference is held.
    pub(crate) unsafe fn factory<'a>(core: *const Core) -> &'a Factory<T> {
        // SAFETY: guaranteed by the caller.
        let [_, factory] = unsafe { (*core).of_type() };
        // SAFETY: from `allocate`; the reference that `drop_factory` releases keeps it.
        unsafe { &*factory.cast::<Factory<T>>() }
    }

    /// Returns the core's diagnostics.
    ///
    /// # Safety
    /// `core` is the head of a live `TypedCore<T>`.
    #[inline]
    pub(crate) unsafe fn slot<'a>(core: *const Core) -> &'a Slot {
        // SAFETY: guaranteed by the caller; the slot never changes.
        unsafe { &(*core.cast::<Self>()).slot }
    }

    /// Creates an object.
    ///
    /// # Safety
    /// As [`TypedCore::factory`].
    pub(crate) unsafe fn create(core: &Core) -> NonNull<Link> {
        // SAFETY: guaranteed by the caller.
        let factory = unsafe { Self::factory(core.address()) };
        // SAFETY: guaranteed by the caller.
        let link = unsafe { Self::node(core, |slot| factory.create(slot)) };
        core.count_created();
        // Weighing it is user code: if that panics, the node must go.
        let bomb = DiscardOnDrop {
            link: link.as_ptr(),
            reason: Reason::Panic,
        };
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw const (*link.as_ptr().cast::<Node<T>>()).value };
        // SAFETY: I1: the node is held here, and its value is there.
        if let Some(weight) = factory.weight_of_new(unsafe { &*value }) {
            core.limits.expect(weight);
        }
        std::mem::forget(bomb);
        link
    }

    /// Creates a node with the value that `fill` writes. The caller holds it.
    ///
    /// # Safety
    /// As [`TypedCore::factory`], and `fill` writes a value, or panics.
    pub(crate) unsafe fn node(
        core: &Core,
        fill: impl FnOnce(&mut MaybeUninit<T>),
    ) -> NonNull<Link> {
        let block = Block::new(Node::<T>::ROOM);
        let node = block.node().cast::<Node<T>>();
        // SAFETY: in bounds of the block, whose layout holds a node.
        let slot = unsafe { &raw mut (*node).value };
        // SAFETY: as above; the slot is empty, and no other thread has the block.
        fill(unsafe { &mut *slot.cast::<MaybeUninit<T>>() });
        // SAFETY: in bounds of the block.
        let head = unsafe { &raw mut (*node).link };
        // SAFETY: as above; nothing is there yet.
        unsafe { head.write(Link::new(core.as_node_core())) };
        core.retain();
        let link = block.into_raw().cast::<Link>();
        // SAFETY: a fresh node of this core.
        unsafe { slow::set_last_cache_of_new(core, local::thread_id(), link.as_ptr()) };
        link
    }

    /// Returns whether an object that holds `weight` bytes has been underused once too often, and
    /// has to be dropped. User code: may panic.
    ///
    /// # Safety
    /// As [`TypedCore::factory`]; `link` is the head of the object's node, which the caller holds.
    #[cold]
    pub(crate) unsafe fn is_underused(core: *const Core, link: *mut Link, object: &T) -> bool {
        // SAFETY: guaranteed by the caller.
        let weight = unsafe { Link::weight(link) };
        // SAFETY: a strong reference is held.
        if weight <= unsafe { (*core).limits.usual_weight() } {
            return false;
        }
        // SAFETY: guaranteed by the caller.
        let used = unsafe { Self::factory(core) }.used_bytes(object);
        // SAFETY: guaranteed by the caller.
        let before = unsafe { Link::underuse_count(link) };
        let underuses = if used < weight / 4 { before + 1 } else { 0 };
        // SAFETY: guaranteed by the caller.
        unsafe { Link::set_underuse_count(link, underuses) };
        underuses >= MAX_UNDERUSES
    }

    /// Resets an object and returns its weight, or [`DROP_IT`]. User code: may panic.
    ///
    /// # Safety
    /// As [`TypedCore::factory`].
    #[inline(always)]
    pub(crate) unsafe fn reset(core: *const Core, object: &mut T) -> usize {
        // SAFETY: guaranteed by the caller.
        let [reset, _] = unsafe { (*core).of_type() };
        // SAFETY: from `allocate`, which stored it with this type.
        let reset = unsafe { std::mem::transmute::<*mut (), Reset<T>>(reset) };
        // SAFETY: guaranteed by the caller.
        reset(unsafe { Self::factory(core) }, object)
    }

    /// For the vtable.
    ///
    /// # Safety
    /// As [`TypedCore::factory`].
    unsafe fn on_pass(core: *const Core) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::factory(core) }.on_pass()
    }

    /// For the vtable.
    ///
    /// # Safety
    /// As [`TypedCore::factory`].
    unsafe fn name(core: *const Core) -> Option<String> {
        // SAFETY: guaranteed by the caller.
        let factory = unsafe { Self::factory(core) };
        factory.settings.name().map(String::from)
    }

    /// For the vtable.
    ///
    /// # Safety
    /// The last strong reference is gone.
    unsafe fn drop_factory(core: *const Core) {
        // SAFETY: alive: the weak reference that the strong ones share is still held.
        let [_, factory] = unsafe { (*core).of_type() };
        // SAFETY: I8: from `Arc::into_raw` in `allocate`; released once, and not used again.
        drop(unsafe { Arc::from_raw(factory.cast_const().cast::<Factory<T>>()) });
    }

    /// For the vtable.
    ///
    /// # Safety
    /// The last reference is gone, and so is the factory.
    unsafe fn free(core: *const Core) {
        // SAFETY: allocated as a box in `allocate`; the last reference is gone.
        let mut typed = unsafe { Box::from_raw(core.cast_mut().cast::<Self>()) };
        // SAFETY: no thread uses the caches any more.
        unsafe { typed.core.free_caches() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Overwrites itself at its end.
    struct Secret([u8; 32]);

    impl Drop for Secret {
        fn drop(&mut self) {
            self.0 = [0; 32];
        }
    }

    #[test]
    fn a_value_that_wipes_itself_leaves_nothing_in_an_unpooled_node() {
        for _ in 0..3 {
            // SAFETY: a value is written.
            let link = unsafe { Node::unpooled(|slot| _ = slot.write(Secret([7; 32]))) };
            // SAFETY: from the line above, and given up.
            unsafe { Node::<Secret>::drop_unpooled(link.as_ptr()) };
            let again = UnpooledNode::<Node<Secret>>::take();
            assert_eq!(again.node().cast(), link.as_ptr(), "the same node");
            // SAFETY: in bounds of the node.
            let bytes = unsafe { &raw const (*again.node()).value.0 };
            // SAFETY: the bytes of the value that was there are still there.
            assert_eq!(unsafe { bytes.read() }, [0; 32]);
        }
    }
}
