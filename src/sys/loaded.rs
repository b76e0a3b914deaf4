//! The library that this code is in stays mapped while a thread of ours runs its code.
//!
//! The crate may be part of a library that a program opens with `dlopen` and closes. glibc keeps a library mapped that
//! has thread-local destructors to come, but a thread has none when it begins. From before the start of a thread until
//! it has one, [`Loaded`] is a reference to the library, as `dlopen` counts them.
//!
//! musl and macOS do not unmap such libraries at all; elsewhere this was not tried, and does nothing.

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
        /// `None` in a program, which cannot be closed.
        pub(crate) fn hold() -> Option<Self> {
            let own = object_of(Self::hold as fn() -> Option<Self> as *const c_void)?;
            // SAFETY: takes an integer.
            let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
            // The program's. An address to look up, and nothing to read from.
            let program = object_of(ptr::without_provenance(headers as usize))?;
            if own.dli_fbase == program.dli_fbase {
                return None;
            }
            // SAFETY: the name of a loaded object, as the loader has it.
            let library =
                unsafe { libc::dlopen(own.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
            (!library.is_null()).then(|| Self(AtomicPtr::new(library)))
        }

        /// From here on, the end of the calling thread is what the library waits for.
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
            // SAFETY: from `dlopen`, and closed once. This code stays: either the thread has a destructor to come, or the
            // thread could not be started and the starter is still inside the library.
            unsafe { libc::dlclose(library) };
        }
    }

    /// The program or library that this address is in.
    fn object_of(address: *const c_void) -> Option<libc::Dl_info> {
        let mut found = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for writes; the address is only looked up.
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
