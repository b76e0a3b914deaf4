//! From reports to rows: medians of both sides, and the ratios of paired rounds.

use crate::rounds::Runs;
use crate::task::{PERCENTILES, Pools, Report, Workload};
use serde::Serialize;

/// Rounds that it takes to name a winner.
pub(crate) const ENOUGH: usize = 3;
/// How far the median ratio has to be from 1.
pub(crate) const MARGIN: f64 = 0.01;

/// One workload.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) workload: Workload,
    pub(crate) rows: Vec<Row>,
    /// Of the last timed round.
    pub(crate) pools: Option<Pools>,
}

/// One figure of both sides.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: String,
    /// Medians over the rounds; `None` where a run had none to give.
    pub(crate) plain: Option<f64>,
    pub(crate) pooled: Option<f64>,
    /// Pooled to plain.
    pub(crate) ratio: Option<Ratio>,
    pub(crate) better: Better,
}

/// The ratios of the paired rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Plain,
    Pooled,
    /// The rounds do not agree, or the difference is within the margin.
    Even,
    /// Too few rounds, or no figures.
    Unknown,
}

/// What makes a row: its name, whether more is better, and where the figure is in a report.
struct Figure<'a> {
    name: String,
    more_is_better: bool,
    of: &'a dyn Fn(&Report) -> Option<f64>,
}

const MIB: f64 = 1_048_576.0;

/// Fails if the two sides did not do the same work.
pub(crate) fn of(runs: &[Runs]) -> Result<Vec<Summary>, String> {
    runs.iter().map(summarise).collect()
}

fn summarise(runs: &Runs) -> Result<Summary, String> {
    let pairs = || runs.timed.iter().chain([&runs.counted]);
    if pairs().any(|(plain, pooled)| plain.checksum != pooled.checksum) {
        let name = runs.workload.name();
        return Err(format!("{name}: pooled replies differ from plain ones"));
    }
    let timed = |figure: Figure<'_>| row(&figure, &runs.timed, ENOUGH);
    // The count of calls hardly varies, so one run says it.
    let counted = |figure: Figure<'_>| row(&figure, std::slice::from_ref(&runs.counted), 1);

    let mut rows = vec![timed(Figure {
        name: "requests/s".to_owned(),
        more_is_better: true,
        of: &|report| Some(report.per_second),
    })];
    for (n, percentile) in PERCENTILES.into_iter().enumerate() {
        rows.push(timed(Figure {
            name: format!("p{percentile} µs"),
            more_is_better: false,
            of: &|report| report.latency[n].map(|nanoseconds| nanoseconds as f64 / 1_000.0),
        }));
    }
    let per_request = |total: u64, report: &Report| total as f64 / report.requests as f64;
    rows.push(counted(Figure {
        name: "allocator calls/request".to_owned(),
        more_is_better: false,
        of: &|report| Some(per_request(report.calls, report)),
    }));
    rows.push(counted(Figure {
        name: "allocated bytes/request".to_owned(),
        more_is_better: false,
        of: &|report| Some(per_request(report.bytes, report)),
    }));
    rows.push(timed(Figure {
        name: "page faults/request".to_owned(),
        more_is_better: false,
        of: &|report| report.faults.map(|faults| per_request(faults, report)),
    }));
    rows.push(timed(Figure {
        name: "peak RSS MiB".to_owned(),
        more_is_better: false,
        of: &|report| report.peak_rss.map(|bytes| bytes as f64 / MIB),
    }));
    rows.push(timed(Figure {
        name: "idle RSS MiB".to_owned(),
        more_is_better: false,
        of: &|report| report.idle_rss.map(|bytes| bytes as f64 / MIB),
    }));
    let pools = runs.timed.last().and_then(|(_, pooled)| pooled.pools);
    Ok(Summary {
        workload: runs.workload,
        rows,
        pools,
    })
}

/// A row names a winner if there are `enough` pairs.
fn row(figure: &Figure<'_>, pairs: &[(Report, Report)], enough: usize) -> Row {
    let of = |pick: fn(&(Report, Report)) -> &Report| -> Option<Vec<f64>> {
        pairs.iter().map(|pair| (figure.of)(pick(pair))).collect()
    };
    let plain = of(|pair| &pair.0);
    let pooled = of(|pair| &pair.1);
    let ratio = match (&plain, &pooled) {
        (Some(plain), Some(pooled)) => ratio(plain, pooled),
        _ => None,
    };
    let better = match (&plain, &pooled) {
        (Some(plain), Some(pooled)) if pairs.len() >= enough => {
            better(plain, pooled, ratio, figure.more_is_better)
        }
        _ => Better::Unknown,
    };
    Row {
        figure: figure.name.clone(),
        plain: plain.map(median),
        pooled: pooled.map(median),
        ratio,
        better,
    }
}

fn ratio(plain: &[f64], pooled: &[f64]) -> Option<Ratio> {
    // Nothing is a multiple of nothing.
    if plain.contains(&0.0) {
        return None;
    }
    let ratios: Vec<_> = pooled
        .iter()
        .zip(plain)
        .map(|(pooled, plain)| pooled / plain)
        .collect();
    Some(Ratio {
        lowest: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        highest: ratios.iter().copied().fold(0.0, f64::max),
        median: median(ratios),
    })
}

/// A side is better if every round says so, and the median ratio by more than the margin. Where
/// there is no ratio because plain has 0, the margin is that of the figure itself.
fn better(plain: &[f64], pooled: &[f64], ratio: Option<Ratio>, more_is_better: bool) -> Better {
    let apart = match ratio {
        Some(ratio) => (ratio.median - 1.0).abs() > MARGIN,
        None => (median(pooled.to_vec()) - median(plain.to_vec())).abs() > MARGIN,
    };
    let pairs = || pooled.iter().zip(plain);
    let pooled_has_more = pairs().all(|(pooled, plain)| pooled > plain);
    let plain_has_more = pairs().all(|(pooled, plain)| pooled < plain);
    match (pooled_has_more, plain_has_more) {
        _ if !apart => Better::Even,
        (true, _) if more_is_better => Better::Pooled,
        (true, _) => Better::Plain,
        (_, true) if more_is_better => Better::Plain,
        (_, true) => Better::Pooled,
        _ => Better::Even,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}
