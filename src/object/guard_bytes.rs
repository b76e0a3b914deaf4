//! `Buf` and `BufMut` for guards whose objects implement them.

#![cfg(feature = "bytes")]

use crate::object::guard::Pooled;
use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};
use std::io::IoSlice;

impl<T: Send + Buf> Buf for Pooled<T> {
    fn remaining(&self) -> usize {
        (**self).remaining()
    }

    fn chunk(&self) -> &[u8] {
        (**self).chunk()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        (**self).chunks_vectored(into)
    }

    fn advance(&mut self, count: usize) {
        (**self).advance(count);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        (**self).copy_to_bytes(len)
    }
}

// SAFETY: every call is forwarded to the object's own implementation, and a guard always
// dereferences to the same object.
unsafe impl<T: Send + BufMut> BufMut for Pooled<T> {
    fn remaining_mut(&self) -> usize {
        (**self).remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: guaranteed by the caller.
        unsafe { (**self).advance_mut(count) };
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        (**self).chunk_mut()
    }

    fn put<B: Buf>(&mut self, source: B)
    where
        Self: Sized,
    {
        (**self).put(source);
    }

    fn put_slice(&mut self, source: &[u8]) {
        (**self).put_slice(source);
    }

    fn put_bytes(&mut self, byte: u8, count: usize) {
        (**self).put_bytes(byte, count);
    }
}
