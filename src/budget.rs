//! [`Budget`]: a limit on the bytes that any number of pools keep idle together.

use crate::raw::limits::Quota;
use crate::sync::rare::Arc;
use crate::sync::{Mutex, Timeout};
use crate::sys::memory::Memory;
use std::fmt;

/// A limit on the bytes that any number of pools keep idle together. It is to pools what `GOMEMLIMIT` is to Go's heap.
///
/// Clones share the limit. An object whose return would exceed it is dropped instead of being kept. Objects in use do
/// not count.
///
/// The limit is never exceeded: each thread's cache is charged in advance for what it may hold, so the slack above the
/// limit is zero. The price is slack below the limit. A thread may be charged for more than it holds, by at most 128
/// objects or 256 KiB per pool, whichever is less, and by at most a quarter of the limit. Other threads and pools
/// cannot use that part until the next pass.
///
/// # Examples
/// ```
/// use repool::{Budget, Pool};
/// let budget = Budget::new(1 << 20);
/// let small = Pool::builder(|| Vec::<u8>::with_capacity(4 << 10)).budget(budget.clone()).build();
/// let large = Pool::builder(|| Vec::<u8>::with_capacity(2 << 20)).budget(budget.clone()).build();
/// drop(small.get());
/// drop(large.get()); // too large for the budget
/// assert_eq!((small.stats().idle, large.stats().discarded_by.budget), (1, 1));
/// assert!(budget.used() <= 1 << 20);
/// ```
#[derive(Clone)]
pub struct Budget {
    quota: Arc<Quota>,
}

impl Budget {
    /// A budget of this many bytes. 0 keeps nothing.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            quota: Arc::new(Quota::new(usize::MAX, bytes)),
        }
    }

    /// The bytes that are charged at the moment: at least what is idle, and at most the limit.
    #[must_use]
    pub fn used(&self) -> usize {
        self.quota.bytes().used()
    }

    /// The limit, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.quota.bytes().limit()
    }

    /// Sets the default budget: that of every pool which names none, and which has not been used (or built) yet. `None`
    /// removes the default.
    ///
    /// Without a call, the environment variable `REPOOL_BUDGET` sets the default when the first pool asks for it. It
    /// may hold bytes (`67108864`), bytes with a unit (`64MiB`; `KiB`, `MiB`, `GiB`), or a percentage (`10%`) of the
    /// memory of the cgroup or the machine. Any other value prints one line to stderr, and there is no default budget.
    ///
    /// # Examples
    /// ```
    /// use repool::{Budget, Pool};
    /// Budget::set_default(Some(Budget::new(64 << 20)));
    /// ```
    pub fn set_default(budget: Option<Budget>) {
        if let Some(mut default) = DEFAULT.lock_bounded(Timeout::Long) {
            *default = Default::Known(budget);
        }
    }

    /// The default budget, as set by [`Budget::set_default`] or the environment.
    pub(crate) fn default_for_pools() -> Option<Budget> {
        let mut default = DEFAULT.lock_bounded(Timeout::Long)?;
        if let Default::Unread = *default {
            *default = Default::Known(from_environment());
        }
        match &*default {
            Default::Known(budget) => budget.clone(),
            Default::Unread => None,
        }
    }

    pub(crate) fn quota(&self) -> Arc<Quota> {
        Arc::clone(&self.quota)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("used", &self.used())
            .field("limit", &self.limit())
            .finish()
    }
}

enum Default {
    Unread,
    Known(Option<Budget>),
}

static DEFAULT: Mutex<Default> = Mutex::new(Default::Unread);

fn from_environment() -> Option<Budget> {
    let text = std::env::var_os("REPOOL_BUDGET")?;
    let parsed = match text.to_str() {
        Some(text) => parse(text, || Memory::system().limit()),
        None => Err("not UTF-8"),
    };
    match parsed {
        Ok(bytes) => Some(Budget::new(bytes)),
        Err(why) => {
            eprintln!(
                "repool: REPOOL_BUDGET={text:?} is {why}; no budget. \
                 Use bytes (67108864), 64MiB, or 10%."
            );
            None
        }
    }
}

/// Parses bytes, bytes with a unit, or a percentage of `limit`.
fn parse(text: &str, limit: impl FnOnce() -> Option<u64>) -> Result<usize, &'static str> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "not a number of bytes")?;
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "%" if number > 100 => return Err("more than all of the memory"),
        "%" => {
            let limit = limit().ok_or("a share of a memory limit that cannot be found")?;
            let share = u128::from(limit) * u128::from(number) / 100;
            return usize::try_from(share).map_err(|_| "too large");
        }
        _ => return Err("in a unit that is none of KiB, MiB, GiB, %"),
    };
    let bytes = number.checked_mul(factor).ok_or("too large")?;
    usize::try_from(bytes).map_err(|_| "too large")
}

#[cfg(test)]
mod tests {
    use super::{Budget, parse};

    #[test]
    fn a_budget_shows_its_limit_and_what_is_charged() {
        let budget = Budget::new(500);
        assert_eq!((budget.used(), budget.limit()), (0, 500));
        assert!(budget.quota().bytes().reserve(20));
        assert_eq!((budget.used(), budget.clone().used()), (20, 20));
        assert_eq!(format!("{budget:?}"), "Budget { used: 20, limit: 500 }");
    }

    #[test]
    fn sizes_are_read_as_written() {
        let limit = || Some(1000);
        assert_eq!(parse("67108864", limit), Ok(64 << 20));
        assert_eq!(parse(" 64MiB ", limit), Ok(64 << 20));
        assert_eq!(parse("3 KiB", limit), Ok(3 << 10));
        assert_eq!(parse("1GiB", limit), Ok(1 << 30));
        assert_eq!(parse("17B", limit), Ok(17));
        assert_eq!(parse("10%", limit), Ok(100));
        assert_eq!(parse("100%", limit), Ok(1000));
        assert_eq!(parse("0", limit), Ok(0));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "64MB!",
            "64 bananas",
            "101%",
            "99999999999999999999",
            "1e9",
        ] {
            assert!(parse(text, || Some(1000)).is_err(), "{text:?}");
        }
        assert!(parse("18446744073709551615GiB", || None).is_err());
        assert!(parse("10%", || None).is_err());
    }
}
