//! [`Settings`]: what a user sets for a pool of any kind. Every builder holds one and delegates to
//! it.
//!
//! A pool made of pools derives the settings of its members with [`Settings::for_member`]: limits
//! on idle objects then apply to all members together.

use crate::background::worker;
use crate::budget::Budget;
use crate::object::diagnostics::settings::{Choice, Diagnostics};
use crate::raw::limits::{Limits, Quota};
use crate::raw::node::LIST_BYTES;
use crate::raw::stats::Reason;
use crate::sync::rare::Arc;
use crate::sys::env;
use std::any::type_name;
use std::time::Duration;

/// Any longer interval is as good as this one, and adding this one to a time does not overflow.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What a pool is from its user's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The user's own pool: it is listed by name, and the environment can switch it off.
    Whole,
    #[cfg_attr(
        not(feature = "bumpalo"),
        expect(dead_code, reason = "for arenas, which are a feature")
    )]
    /// The arenas of an arena pool: the environment can switch them off; the arena pool is listed.
    Arenas,
    /// A part of another pool, which does all that.
    Part,
}

impl Role {
    /// Returns the bytes of a full list, if nothing is limited. Most arenas have the size of the first one, 4 KiB, and
    /// a full list of them is as long as one of small objects.
    fn list_bytes(self) -> usize {
        match self {
            Self::Arenas => 2 * LIST_BYTES,
            Self::Whole | Self::Part => LIST_BYTES,
        }
    }

    /// Returns whether the environment switches off a pool of this name.
    pub(crate) fn is_off(self, name: Option<&str>) -> bool {
        self != Self::Part && env::is_off(name)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    name: Option<Box<str>>,
    role: Role,
    min_idle: usize,
    max_idle: usize,
    max_idle_bytes: usize,
    max_object_bytes: usize,
    drops_underused: bool,
    group: Option<Arc<Quota>>,
    budget: Option<Budget>,
    interval: Option<Duration>,
    diagnostics: Choice,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            role: Role::Whole,
            min_idle: 0,
            max_idle: usize::MAX,
            max_idle_bytes: usize::MAX,
            max_object_bytes: usize::MAX,
            drops_underused: true,
            group: None,
            budget: None,
            interval: Some(worker::INTERVAL),
            diagnostics: Choice::UNSAID,
        }
    }
}

/// The setters of builders.
impl Settings {
    pub(crate) fn set_name(&mut self, name: impl Into<String>) {
        self.name = Some(name.into().into_boxed_str());
    }

    pub(crate) fn set_min_idle(&mut self, objects: usize) {
        self.min_idle = objects;
    }

    pub(crate) fn set_max_idle(&mut self, objects: usize) {
        self.max_idle = objects;
    }

    pub(crate) fn set_max_idle_bytes(&mut self, bytes: usize) {
        self.max_idle_bytes = bytes;
    }

    pub(crate) fn set_max_object_bytes(&mut self, bytes: usize) {
        self.max_object_bytes = bytes;
    }

    pub(crate) fn set_drops_underused(&mut self, on: bool) {
        self.drops_underused = on;
    }

    pub(crate) fn set_budget(&mut self, budget: Budget) {
        self.budget = Some(budget);
    }

    /// # Panics
    /// If `interval` is zero.
    pub(crate) fn trim_every(&mut self, interval: Duration) {
        assert!(
            !interval.is_zero(),
            "the interval between trim passes must not be zero"
        );
        self.interval = Some(interval.min(NEVER));
    }

    pub(crate) fn trim_manually(&mut self) {
        self.interval = None;
    }
}

/// The getters of pools.
impl Settings {
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the name under which the pool is listed and switched off, if it is listed itself.
    pub(crate) fn listed_name(&self) -> Option<&str> {
        self.name().filter(|_| self.role == Role::Whole)
    }

    pub(crate) fn is_part(&self) -> bool {
        self.role == Role::Part
    }

    /// Returns whether the environment switches the pool off.
    pub(crate) fn is_off(&self) -> bool {
        self.role.is_off(self.name())
    }

    /// Returns the pool's diagnostics.
    pub(crate) fn diagnostics(&self) -> Diagnostics {
        self.diagnostics.resolve(self.name())
    }

    /// Returns what reports call the pool.
    pub(crate) fn label<T>(&self) -> &str {
        self.name().unwrap_or(match self.role {
            Role::Whole => type_name::<T>(),
            Role::Arenas => "arenas",
            Role::Part => "buffers",
        })
    }

    /// Resolves the diagnostics now, for all pools that get these settings.
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn settle_diagnostics(&mut self) {
        self.diagnostics = self.diagnostics.settled(self.name());
    }

    #[allow(
        dead_code,
        reason = "for pools with diagnostics and buffers, which are features"
    )]
    pub(crate) fn set_diagnostics(&mut self, choice: Choice) {
        self.diagnostics = choice;
    }

    /// Returns the interval between passes; `None` if the user runs them.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new(self.max_idle, self.max_idle_bytes, self.max_object_bytes)
            .with_min_idle(self.min_idle)
            .with_group(self.group.clone())
            .with_budget(self.effective_budget().map(|budget| budget.quota()))
            .with_unbounded_list_bytes(self.role.list_bytes())
    }

    /// Returns whether the pool drops large objects of which little is used.
    pub(crate) fn drops_underused(&self) -> bool {
        self.drops_underused
    }

    /// Returns whether the user has set a limit in bytes.
    pub(crate) fn limits_bytes(&self) -> bool {
        self.largest_kept() != usize::MAX || self.budget.is_some()
    }

    /// Returns the most bytes that one object may have and still be kept, considering this pool's
    /// limits only.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn largest_kept(&self) -> usize {
        self.max_object_bytes.min(self.max_idle_bytes)
    }

    fn effective_budget(&self) -> Option<Budget> {
        self.budget.clone().or_else(Budget::default_for_pools)
    }
}

/// For an arena pool.
#[allow(dead_code, reason = "for arenas, which are a feature")]
impl Settings {
    pub(crate) fn set_role(&mut self, role: Role, name: Option<&str>) {
        self.role = role;
        if let Some(name) = name {
            self.set_name(name);
        }
    }
}

/// For a pool made of pools.
#[allow(dead_code, reason = "for buffers, which are a feature")]
impl Settings {
    /// Makes the limits on idle objects those of all members together. A builder calls this once,
    /// at the end.
    pub(crate) fn share_limits(&mut self) {
        if self.max_idle != usize::MAX || self.max_idle_bytes != usize::MAX {
            self.group = Some(Arc::new(Quota::new(self.max_idle, self.max_idle_bytes)));
        }
    }

    pub(crate) fn set_group(&mut self, group: Option<Arc<Quota>>) {
        self.group = group;
    }

    /// Returns the settings of one member with its own `max_object_bytes`.
    pub(crate) fn for_member(&self, max_object_bytes: usize) -> Self {
        Self {
            role: Role::Part,
            max_idle: usize::MAX,
            max_idle_bytes: usize::MAX,
            max_object_bytes: max_object_bytes.min(self.max_object_bytes),
            ..self.clone()
        }
    }

    /// Returns the limits on idle objects and bytes.
    pub(crate) fn most(&self) -> (usize, usize) {
        (self.max_idle, self.max_idle_bytes)
    }

    /// Returns the limit on the bytes of idle objects that have at least `least` bytes each.
    pub(crate) fn most_bytes(&self, least: usize) -> usize {
        let objects = match self.max_idle {
            usize::MAX => usize::MAX,
            objects => objects.saturating_mul(least.max(1)),
        };
        let budget = self.effective_budget();
        objects
            .min(self.max_idle_bytes)
            .min(budget.map_or(usize::MAX, |budget| budget.limit()))
    }

    /// Returns why an object of this many bytes would never be kept, however little is idle; `None`
    /// if it may be kept.
    pub(crate) fn refuses(&self, bytes: usize) -> Option<Reason> {
        if bytes > self.max_object_bytes {
            return Some(Reason::Oversize);
        }
        if self.max_idle == 0 || bytes > self.max_idle_bytes {
            return Some(Reason::Full);
        }
        let budget = self.effective_budget()?;
        (bytes > budget.limit()).then_some(Reason::Budget)
    }
}
