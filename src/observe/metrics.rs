//! The figures of all named pools for the `metrics` facade (feature `metrics`).
//!
//! No path of a pool records anything: [`record_metrics`] reads the figures as [`pools`] does and
//! passes them to the recorder that the program has installed. Only the drop of a named pool adds
//! what the pool had counted to the totals of its name, once [`record_metrics`] has been called.
//!
//! [`pools`]: super::pools::pools

#![cfg(feature = "metrics")]

use crate::background::worker::janitor_stats;
use crate::object::registry::{self, PoolKind, Seen};
use crate::raw::stats::Stats;
use metrics::{Label, Unit};
use std::collections::BTreeMap;

/// A metric that each pool has.
struct Metric {
    name: &'static str,
    unit: Unit,
    read: fn(&Stats) -> u64,
    description: &'static str,
}

const COUNTERS: &[Metric] = &[
    Metric {
        name: "repool_objects_created_total",
        unit: Unit::Count,
        read: |stats| stats.created,
        description: "Objects made because none was idle: the misses.",
    },
    Metric {
        name: "repool_objects_reused_total",
        unit: Unit::Count,
        read: |stats| stats.reused,
        description: "Objects handed out again: the hits.",
    },
    Metric {
        name: "repool_objects_returned_total",
        unit: Unit::Count,
        read: |stats| stats.returned,
        description: "Objects taken back.",
    },
    Metric {
        name: "repool_objects_adopted_total",
        unit: Unit::Count,
        read: |stats| stats.adopted,
        description: "Objects that were made elsewhere and given to the pool.",
    },
    Metric {
        name: "repool_objects_taken_total",
        unit: Unit::Count,
        read: |stats| stats.taken,
        description: "Objects that left the pool for good.",
    },
    Metric {
        name: "repool_objects_trimmed_total",
        unit: Unit::Count,
        read: |stats| stats.trimmed,
        description: "Idle objects dropped by trim passes and by clear.",
    },
];

const DISCARDED: &str = "repool_objects_discarded_total";
const DISCARDED_IS: &str = "Objects dropped instead of being kept, by reason.";

const GAUGES: &[Metric] = &[
    Metric {
        name: "repool_idle_objects",
        unit: Unit::Count,
        read: |stats| stats.idle,
        description: "Objects waiting to be handed out.",
    },
    Metric {
        name: "repool_idle_bytes",
        unit: Unit::Bytes,
        read: |stats| stats.idle_bytes,
        description: "Memory of the idle objects.",
    },
    Metric {
        name: "repool_in_use_objects",
        unit: Unit::Count,
        read: |stats| stats.in_use,
        description: "Objects that are handed out.",
    },
    Metric {
        name: "repool_peak_idle_objects",
        unit: Unit::Count,
        read: |stats| stats.peak_idle,
        description: "The most objects that were seen idle at once.",
    },
    Metric {
        name: "repool_peak_in_use_objects",
        unit: Unit::Count,
        read: |stats| stats.peak_in_use,
        description: "The most objects that were seen handed out at once.",
    },
];

const POOLS: &str = "repool_pools";
const ENABLED: &str = "repool_enabled";
const PASSES: &str = "repool_janitor_passes_total";
const WAKE_UPS: &str = "repool_janitor_wake_ups_total";
const RUNNING: &str = "repool_janitor_running";

/// Passes the figures of all named pools to the recorder of the `metrics` crate.
///
/// Call it from a timer or before each scrape. It costs as much as [`pools`](crate::pools) plus
/// what the recorder takes for about twenty metrics per pool. Gets and drops record nothing, and
/// the recorder runs without a lock of this crate held. Without an installed recorder the call has
/// no effect.
///
/// | metric | type | what |
/// |---|---|---|
/// | `repool_objects_created_total` | counter | misses |
/// | `repool_objects_reused_total` | counter | hits |
/// | `repool_objects_returned_total` | counter | objects taken back |
/// | `repool_objects_adopted_total`, `repool_objects_taken_total` | counter | objects that came from elsewhere, or left |
/// | `repool_objects_discarded_total` | counter | objects dropped instead of kept; label `reason` as in [`Discarded`](crate::Discarded) |
/// | `repool_objects_trimmed_total` | counter | objects dropped by passes and `clear` |
/// | `repool_idle_objects`, `repool_idle_bytes` | gauge | idle objects, and their memory in bytes |
/// | `repool_in_use_objects` | gauge | objects handed out |
/// | `repool_peak_idle_objects`, `repool_peak_in_use_objects` | gauge | see [`Stats::peak_idle`](crate::Stats::peak_idle) |
/// | `repool_pools` | gauge | pools of this name and kind: 0 after the last one is dropped |
/// | `repool_enabled` | gauge | 1, or 0 while a pool of this name is switched off, or none is left |
/// | `repool_janitor_passes_total`, `repool_janitor_wake_ups_total` | counter | [`JanitorStats`](crate::JanitorStats), without labels |
/// | `repool_janitor_running` | gauge | 1 or 0, without labels |
///
/// All but the last two rows have the labels `pool` (its name) and `kind` (`objects`, `buffers` or
/// `arenas`).
///
/// Pools with the same name and kind are added up. From the first call of this function on, that
/// includes what dropped pools had counted, so counters never go back. (What the drop of a pool
/// itself drops is not counted.) After the last pool of a name is dropped, the gauges are 0.
/// Recorders keep each name until the process ends, and so does this crate. So give pools that come
/// and go one name for all of them, or none.
///
/// # Examples
/// ```
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use repool::Pool;
///
/// static LINES: Pool<String> = Pool::named("lines", String::new);
///
/// let prometheus = PrometheusBuilder::new().install_recorder()?;
/// drop(LINES.get());
/// // For each scrape:
/// repool::record_metrics();
/// let page = prometheus.render();
/// assert!(page.contains(r#"repool_idle_objects{pool="lines",kind="objects"} 1"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn record_metrics() {
    describe();
    for ((name, kind), group) in &groups() {
        record(name, *kind, group);
    }
    let janitor = janitor_stats();
    metrics::counter!(PASSES).absolute(janitor.passes);
    metrics::counter!(WAKE_UPS).absolute(janitor.wake_ups);
    metrics::gauge!(RUNNING).set(f64::from(u8::from(janitor.running)));
}

/// Runs each time, because the recorder may be a new one. Recorders keep one description per name.
fn describe() {
    for metric in COUNTERS {
        metrics::describe_counter!(metric.name, metric.unit, metric.description);
    }
    metrics::describe_counter!(DISCARDED, Unit::Count, DISCARDED_IS);
    for metric in GAUGES {
        metrics::describe_gauge!(metric.name, metric.unit, metric.description);
    }
    metrics::describe_gauge!(POOLS, Unit::Count, "Pools of this name and kind.");
    metrics::describe_gauge!(
        ENABLED,
        "1, or 0 while a pool of this name is switched off, or none is left."
    );
    metrics::describe_counter!(PASSES, Unit::Count, "Trim passes over all pools.");
    metrics::describe_counter!(WAKE_UPS, Unit::Count, "Times the janitor woke up.");
    metrics::describe_gauge!(RUNNING, "1 while the janitor's thread is there, or 0.");
}

/// The pools of one name and kind, added up.
#[derive(Default)]
struct Group {
    /// Only the counters are read; those of dropped pools are included.
    counted: Stats,
    /// The sum over the pools that exist.
    now: Stats,
    pools: u32,
    off: u32,
}

fn groups() -> BTreeMap<(Box<str>, PoolKind), Group> {
    let (seen, removed) = registry::look_with_totals();
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    for (key, counted) in removed {
        groups.entry(key).or_default().counted = counted;
    }
    for Seen {
        entry,
        look,
        counted,
    } in seen
    {
        let key = (entry.name.clone(), entry.kind);
        let group = groups.entry(key).or_default();
        group.counted.add(&counted);
        if let Some(look) = look {
            group.now.add(&look.stats);
            group.pools += 1;
            group.off += u32::from(!look.enabled);
        }
    }
    groups
}

fn record(name: &str, kind: PoolKind, group: &Group) {
    let kind = match kind {
        PoolKind::Objects => "objects",
        PoolKind::Buffers => "buffers",
        PoolKind::Arenas => "arenas",
    };
    let labels = vec![
        Label::new("pool", name.to_owned()),
        Label::from_static_parts("kind", kind),
    ];
    for metric in COUNTERS {
        let count = (metric.read)(&group.counted);
        metrics::counter!(metric.name, labels.clone()).absolute(count);
    }
    for (reason, count) in group.counted.discarded_by.by_reason() {
        let mut labels = labels.clone();
        labels.push(Label::from_static_parts("reason", reason));
        metrics::counter!(DISCARDED, labels).absolute(count);
    }
    for metric in GAUGES {
        let figure = (metric.read)(&group.now) as f64;
        metrics::gauge!(metric.name, labels.clone()).set(figure);
    }
    metrics::gauge!(POOLS, labels.clone()).set(f64::from(group.pools));
    let enabled = group.pools > 0 && group.off == 0;
    metrics::gauge!(ENABLED, labels).set(f64::from(u8::from(enabled)));
}
