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
    assert_eq!(types.len(), 16, "{types:?}");
    assert_eq!(figure(&text, "repool_janitor_running"), 1.0);
    assert!(types.contains_key("repool_janitor_passes_total"));
}

/// The exporter's own naming recommendations, which add what is missing, add nothing.
#[test]
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
    assert_eq!(of("repool_enabled"), 0.0);
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
