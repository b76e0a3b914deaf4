//! Traits of a guard that forward to its object: comparing, hashing, iterating, reading, writing.
//!
//! (`Deref`, `Debug`, `Display`, `AsRef` and `AsMut` are in `guard.rs`.)

use crate::object::guard::Pooled;
use std::borrow::{Borrow, BorrowMut};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};

// ---------------------------------------------------------------- comparing

impl<T: Send + PartialEq> PartialEq for Pooled<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Send + PartialEq> PartialEq<T> for Pooled<T> {
    fn eq(&self, other: &T) -> bool {
        **self == *other
    }
}

impl<T: Send + Eq> Eq for Pooled<T> {}

impl<T: Send + PartialOrd> PartialOrd for Pooled<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Send + PartialOrd> PartialOrd<T> for Pooled<T> {
    fn partial_cmp(&self, other: &T) -> Option<Ordering> {
        (**self).partial_cmp(other)
    }
}

impl<T: Send + Ord> Ord for Pooled<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

/// Compares with everything that strings and vectors compare with, on either side.
macro_rules! comparable {
    ($([$($generics:tt)*] $Type:ty, $Other:ty;)*) => {$(
        impl<$($generics)*> PartialEq<$Other> for Pooled<$Type> {
            fn eq(&self, other: &$Other) -> bool {
                **self == *other
            }
        }

        comparable!(back [$($generics)*] $Type, $Other);
    )*};
    (back [$($generics:tt)*] $Type:ty, $Other:ty) => {
        impl<$($generics)*> PartialEq<Pooled<$Type>> for $Other {
            fn eq(&self, other: &Pooled<$Type>) -> bool {
                **other == *self
            }
        }
    };
}

comparable! {
    [] String, str;
    ['a] String, &'a str;
    [U: PartialEq + Send + 'static] Vec<U>, [U];
    ['a, U: PartialEq + Send + 'static] Vec<U>, &'a [U];
    [U: PartialEq + Send + 'static, const N: usize] Vec<U>, [U; N];
    ['a, U: PartialEq + Send + 'static, const N: usize] Vec<U>, &'a [U; N];
}

comparable!(back [] String, String);
comparable!(back [U: PartialEq + Send + 'static] Vec<U>, Vec<U>);

impl<T: Send + Hash> Hash for Pooled<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: Send> Borrow<T> for Pooled<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: Send> BorrowMut<T> for Pooled<T> {
    fn borrow_mut(&mut self) -> &mut T {
        self
    }
}

// ---------------------------------------------------------------- iterating

impl<'a, T: Send> IntoIterator for &'a Pooled<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

impl<'a, T: Send> IntoIterator for &'a mut Pooled<T>
where
    &'a mut T: IntoIterator,
{
    type Item = <&'a mut T as IntoIterator>::Item;
    type IntoIter = <&'a mut T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

impl<T: Send + Extend<A>, A> Extend<A> for Pooled<T> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, items: I) {
        (**self).extend(items);
    }
}

// ---------------------------------------------------------------- reading and writing

impl<T: Send + Read> Read for Pooled<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (**self).read_vectored(bufs)
    }

    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        (**self).read_to_end(buf)
    }

    fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        (**self).read_to_string(buf)
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_exact(buf)
    }
}

impl<T: Send + BufRead> BufRead for Pooled<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        (**self).fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        (**self).consume(amount);
    }
}

impl<T: Send + Seek> Seek for Pooled<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (**self).seek(to)
    }
}

impl<T: Send + Write> Write for Pooled<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (**self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (**self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        (**self).write_all(buf)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> io::Result<()> {
        (**self).write_fmt(args)
    }
}

impl<T: Send + fmt::Write> fmt::Write for Pooled<T> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (**self).write_str(text)
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        (**self).write_char(c)
    }

    fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        (**self).write_fmt(args)
    }
}
