//! [`Loaded`]: keeps the library that contains this code mapped while a background thread runs it.
//!
//! The crate may be part of a library that a program opens with `dlopen` and closes. glibc keeps a library mapped while
//! threads have to run its thread-local destructors, but a new thread has none yet. From before the start of a thread
//! until the thread has such a destructor, [`Loaded`] holds a reference to the library, as `dlopen` counts them.
//!
//! musl and macOS never unmap such a library. On other systems this does nothing, and was not tried.

#![cfg(not(repool_loom))]

pub(crate) use self::system::Loaded;

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(miri)
))]
mod system {
    use crate::sync::{AtomicPtr, Ordering};
    use std::ffi::c_void;
    use std::mem::MaybeUninit;
    use std::ptr;

    /// A reference to the library that this code is in.
    #[derive(Debug)]
    pub(crate) struct Loaded(AtomicPtr<c_void>);

    impl Loaded {
        /// Takes a reference. `None` if this code is in a program, which cannot be closed.
        pub(crate) fn hold() -> Option<Self> {
            let own = object_of(Self::hold as fn() -> Option<Self> as *const c_void)?;
            // SAFETY: takes an integer.
            let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
            // An address within the program, which is only looked up, not read.
            let program = object_of(ptr::without_provenance(headers as usize))?;
            if own.dli_fbase == program.dli_fbase {
                return None;
            }
            // SAFETY: the name is that of a loaded object, from the loader.
            let library =
                unsafe { libc::dlopen(own.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
            (!library.is_null()).then(|| Self(AtomicPtr::new(library)))
        }

        /// Drops the reference, after it has made the calling thread keep the library mapped until the thread ends.
        pub(crate) fn until_thread_ends(self) {
            struct End;
            impl Drop for End {
                fn drop(&mut self) {}
            }
            thread_local! {
                static END: End = const { End };
            }
            END.with(|_| ());
            drop(self);
        }
    }

    impl Drop for Loaded {
        fn drop(&mut self) {
            // Relaxed: never written again.
            let library = self.0.load(Ordering::Relaxed);
            // SAFETY: from `dlopen`, and closed once. This code stays mapped: either the thread still has to run a
            // destructor of the library, or it could not be started, and its parent thread still runs this library.
            unsafe { libc::dlclose(library) };
        }
    }

    /// The program or library that contains this address.
    fn object_of(address: *const c_void) -> Option<libc::Dl_info> {
        let mut found = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for writes, and the address is only looked up.
        let known = unsafe { libc::dladdr(address, found.as_mut_ptr()) } != 0;
        // SAFETY: written by dladdr, which succeeded.
        known.then(|| unsafe { found.assume_init() })
    }
}

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(miri)
)))]
mod system {
    #[derive(Debug)]
    pub(crate) struct Loaded;

    impl Loaded {
        pub(crate) fn hold() -> Option<Self> {
            None
        }

        pub(crate) fn until_thread_ends(self) {}
    }
}
