//! The `metrics` feature, through the Prometheus exporter, as users have it.

use metrics_exporter_prometheus::PrometheusBuilder;
use repool::Pool;

/// Returns what Prometheus would read.
fn page() -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, repool::record_metrics);
    recorder.handle().render()
}

/// Returns the figure of a line.
fn figure(page: &str, metric: &str) -> f64 {
    let mut lines = page
        .lines()
        .filter_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    let figure = lines
        .next()
        .unwrap_or_else(|| panic!("no {metric} in\n{page}"));
    assert_eq!(lines.next(), None, "{metric} twice");
    figure.parse().unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "the exporter runs `cpuid`")]
fn figures_of_a_pool_are_on_the_page() {
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(76))
        .name("scraped")
        .build();
    let held = pool.get();
    drop((pool.get(), pool.get()));
    repool::Pooled::discard(pool.get());
    pool.put(Vec::new());
    let text = page();
    let of = |metric: &str| {
        figure(
            &text,
            &format!("{metric}{{pool=\"scraped\",kind=\"objects\"}}"),
        )
    };
    let stats = pool.stats();
    for (metric, expected) in [
        ("repool_objects_created_total", stats.created),
        ("repool_objects_reused_total", stats.reused),
        ("repool_objects_returned_total", stats.returned),
        ("repool_objects_adopted_total", 1),
        ("repool_objects_taken_total", 0),
        ("repool_objects_trimmed_total", 0),
        ("repool_idle_objects", 2),
        ("repool_idle_bytes", stats.idle_bytes),
        ("repool_in_use_objects", 1),
        ("repool_peak_in_use_objects", 3),
        ("repool_peak_idle_objects", 2),
        ("repool_enabled", 1),
    ] {
        assert_eq!(of(metric), expected as f64, "{metric}");
    }
    let reason = |reason: &str| {
        let labels = format!("{{pool=\"scraped\",kind=\"objects\",reason=\"{reason}\"}}");
        figure(&text, &format!("repool_objects_discarded_total{labels}"))
    };
    assert_eq!((reason("user"), reason("full")), (1.0, 0.0));
    drop(held);
    pool.set_enabled(false);
    let text = page();
    let of = |metric: &str| {
        figure(
            &text,
            &format!("{metric}{{pool=\"scraped\",kind=\"objects\"}}"),
        )
    };
    assert_eq!(
        (of("repool_enabled"), of("repool_in_use_objects")),
        (0.0, 0.0)
    );
}

/// By Prometheus' rules: a prefix, base units, `_total` for counters only, and one description for
/// each metric.
#[test]
#[cfg_attr(miri, ignore = "the exporter runs `cpuid`")]
fn names_types_and_descriptions_follow_the_rules() {
    let pool = Pool::<String>::builder(String::new).name("rules").build();
    drop(pool.get());
    let text = page();
    let mut types = std::collections::BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(types.insert(name, kind).is_none(), "{name} twice");
        assert!(
            name.starts_with("repool_") && !name.contains("__"),
            "{name}"
        );
        assert_eq!(
            kind,
            if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            },
            "{name}"
        );
        let help = format!("# HELP {name} ");
        let described: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with(&help))
            .collect();
        assert_eq!(described.len(), 1, "{name}");
        assert!(described[0].ends_with('.'), "{described:?}");
    }
    assert_eq!(types.len(), 17, "{types:?}");
    assert_eq!(figure(&text, "repool_janitor_running"), 1.0);
    assert!(types.contains_key("repool_janitor_passes_total"));
}

/// The exporter's own naming recommendations, which add what is missing, add nothing.
#[test]
#[cfg_attr(miri, ignore = "the exporter runs `cpuid`")]
fn the_exporters_recommended_names_are_the_same() {
    let names = |recommended: bool| {
        let builder = PrometheusBuilder::new().with_recommended_naming(recommended);
        let recorder = builder.build_recorder();
        metrics::with_local_recorder(&recorder, repool::record_metrics);
        let page = recorder.handle().render();
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut names: Vec<_> = types.map(String::from).collect();
        names.sort();
        names
    };
    let pool = Pool::<String>::builder(String::new)
        .name("recommended")
        .build();
    drop(pool.get());
    assert_eq!(names(true), names(false));
}

/// Two pools of the same name are one line with the sum.
#[test]
#[cfg_attr(miri, ignore = "the exporter runs `cpuid`")]
fn pools_of_one_name_are_added_up() {
    let build = || Pool::<String>::builder(String::new).name("sum").build();
    let (one, two) = (build(), build());
    drop((one.get(), one.get(), two.get()));
    two.set_enabled(false);
    let text = page();
    let of = |metric: &str| figure(&text, &format!("{metric}{{pool=\"sum\",kind=\"objects\"}}"));
    assert_eq!(
        (
            of("repool_idle_objects"),
            of("repool_objects_created_total")
        ),
        (3.0, 3.0)
    );
    assert_eq!((of("repool_enabled"), of("repool_pools")), (0.0, 2.0));
}

const OF_A_POOL: [&str; 7] = [
    "repool_pools",
    "repool_enabled",
    "repool_idle_objects",
    "repool_idle_bytes",
    "repool_in_use_objects",
    "repool_peak_idle_objects",
    "repool_peak_in_use_objects",
];

/// A dropped pool does not stay on the dashboard with its last figures, whichever recorder reads.
#[test]
#[cfg_attr(miri, ignore = "the exporter runs `cpuid`")]
fn gauges_of_a_dropped_pool_are_zero() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let scrape = || {
        metrics::with_local_recorder(&recorder, repool::record_metrics);
        recorder.handle().render()
    };
    let objects = Pool::<String>::builder(String::new).name("gone").build();
    drop((objects.get(), objects.get()));
    std::mem::forget(objects.get());
    #[cfg(feature = "bytes")]
    let buffers = repool::BufferPool::named("gone");
    #[cfg(feature = "bytes")]
    drop((buffers.get(100), buffers.get(1000)));
    #[cfg(feature = "bumpalo")]
    let arenas = repool::ArenaPool::named("gone");
    #[cfg(feature = "bumpalo")]
    drop(arenas.get());
    let kinds = [
        "objects",
        #[cfg(feature = "bytes")]
        "buffers",
        #[cfg(feature = "bumpalo")]
        "arenas",
    ];
    let before = scrape();
    drop(objects);
    #[cfg(feature = "bytes")]
    drop(buffers);
    #[cfg(feature = "bumpalo")]
    drop(arenas);
    for after in [scrape(), page()] {
        for kind in kinds {
            for metric in OF_A_POOL {
                let metric = format!("{metric}{{pool=\"gone\",kind=\"{kind}\"}}");
                let was = figure(&before, &metric);
                let used = metric.contains("in_use_objects") || was > 0.0;
                assert!(used, "{metric}");
                assert_eq!(figure(&after, &metric), 0.0, "{metric}");
            }
            let created = format!("repool_objects_created_total{{pool=\"gone\",kind=\"{kind}\"}}");
            assert_eq!(figure(&after, &created), figure(&before, &created));
        }
    }
}

/// Pools of one name come and go, also between two scrapes: their counters are one sum.
#[test]
#[cfg_attr(miri, ignore = "the exporter runs `cpuid`")]
fn counters_include_dropped_pools_of_the_same_name() {
    let build = || Pool::<String>::builder(String::new).name("turns").build();
    let used = |pool: &Pool<String>, times| (0..times).for_each(|_| drop(pool.get()));
    let requests = || {
        let text = page();
        let of = |metric: &str| {
            figure(
                &text,
                &format!("{metric}{{pool=\"turns\",kind=\"objects\"}}"),
            )
        };
        let (created, reused) = (
            of("repool_objects_created_total"),
            of("repool_objects_reused_total"),
        );
        (created, reused, of("repool_pools"))
    };
    let (one, two) = (build(), build());
    used(&one, 100);
    used(&two, 100);
    assert_eq!(requests(), (2.0, 198.0, 2.0));
    drop(two);
    assert_eq!(requests(), (2.0, 198.0, 1.0));
    used(&one, 50);
    assert_eq!(requests(), (2.0, 248.0, 1.0));
    drop(one);
    assert_eq!(requests(), (2.0, 248.0, 0.0));
    for _ in 0..3 {
        let brief = build();
        used(&brief, 10);
        brief.set_enabled(false);
        used(&brief, 5);
    }
    assert_eq!(requests(), (2.0 + 18.0, 248.0 + 27.0, 0.0));
    used(&build(), 1);
    assert_eq!(requests(), (21.0, 275.0, 0.0));
}

/// Remembers what counters were set to, and panics if one goes back.
#[derive(Default)]
struct Strict(std::sync::Mutex<std::collections::HashMap<metrics::Key, std::sync::Arc<Last>>>);

struct Last(metrics::Key, std::sync::atomic::AtomicU64);

impl metrics::CounterFn for Last {
    fn increment(&self, _: u64) {
        unreachable!("counters are absolute");
    }
    fn absolute(&self, value: u64) {
        let before = self.1.swap(value, std::sync::atomic::Ordering::SeqCst);
        assert!(before <= value, "{}: {before}, then {value}", self.0);
    }
}

impl metrics::Recorder for Strict {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        let mut all = self.0.lock().unwrap();
        let last = || std::sync::Arc::new(Last(key.clone(), 0.into()));
        std::sync::Arc::clone(all.entry(key.clone()).or_insert_with(last)).into()
    }
    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }
    fn register_histogram(
        &self,
        _: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

/// No scrape sees a counter below an earlier scrape, and at the end nothing is missing.
#[test]
fn counters_never_go_back_while_pools_come_and_go() {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    const ROUNDS: u64 = if cfg!(miri) { 5 } else { 1_000 };
    let scrape = |recorder: &Strict| {
        metrics::with_local_recorder(recorder, repool::record_metrics);
    };
    let strict = Strict::default();
    scrape(&strict); // totals are kept from here on
    let lasting = Pool::<String>::builder(String::new).name("coming").build();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    let pool = Pool::<String>::builder(String::new).name("coming").build();
                    drop((pool.get(), lasting.get()));
                    match round % 3 {
                        0 => pool.set_enabled(false),
                        1 => drop(pool.clear()),
                        _ => {}
                    }
                    drop(pool.get());
                    #[cfg(feature = "bytes")]
                    drop(repool::BufferPool::named("coming").get(100));
                }
            })
        });
        let scraper = scope.spawn(|| {
            while !done.load(SeqCst) {
                scrape(&strict);
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, SeqCst);
        scraper.join().unwrap();
    });
    scrape(&strict);
    let all = strict.0.into_inner().unwrap();
    let total: u64 = all
        .values()
        .filter(|last| {
            ["coming", "objects"]
                .iter()
                .all(|value| last.0.labels().any(|label| label.value() == *value))
        })
        .filter(|last| {
            let name = last.0.name();
            name == "repool_objects_created_total" || name == "repool_objects_reused_total"
        })
        .map(|last| last.1.load(SeqCst))
        .sum();
    assert_eq!(total, 2 * ROUNDS * 3);
}

/// A name may contain anything: labels escape it.
#[test]
#[cfg_attr(miri, ignore = "the exporter runs `cpuid`")]
fn odd_names_are_escaped() {
    let names = [
        "a\"b",
        "a\nb",
        "a\\b",
        "\u{e4} \u{1f600}",
        "",
        "a{b=\"c\"} 1",
    ];
    let pools = names.map(|name| {
        let pool = Pool::<String>::builder(String::new)
            .name(format!("odd {name}"))
            .build();
        drop(pool.get());
        pool
    });
    let text = page();
    for (name, pool) in names.iter().zip(&pools) {
        let escaped = name
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let metric = format!("repool_idle_objects{{pool=\"odd {escaped}\",kind=\"objects\"}}");
        assert_eq!(figure(&text, &metric), pool.stats().idle as f64);
    }
}

/// A recorder may use pools, and list them.
#[test]
fn a_recorder_may_use_pools() {
    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    struct Nosy<'a>(&'a Pool<String>, AtomicUsize);

    impl Nosy<'_> {
        fn look(&self) {
            drop(self.0.get());
            self.1.fetch_add(repool::pools().len(), SeqCst);
        }
    }

    impl Recorder for Nosy<'_> {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            self.look();
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            self.look();
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let pool = Pool::<String>::builder(String::new).name("nosy").build();
    drop(pool.get());
    let recorder = Nosy(&pool, AtomicUsize::new(0));
    metrics::with_local_recorder(&recorder, repool::record_metrics);
    assert!(recorder.1.load(SeqCst) >= 20);
    assert!(pool.stats().reused >= 20);
}
