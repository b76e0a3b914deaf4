//! From reports to rows: medians of the sides, and the ratios of paired rounds.

use crate::allocator;
use crate::rounds::Runs;
use crate::task::{PERCENTILES, Pools, Report, Workload};
use serde::Serialize;

/// The number of rounds that it takes to name a winner.
pub(crate) const ENOUGH: usize = 3;
/// How far the median ratio has to be from 1.
pub(crate) const MARGIN: f64 = 0.01;

/// All results on one allocator.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) allocator: allocator::Name,
    pub(crate) summaries: Vec<Summary>,
}

/// One workload.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) workload: Workload,
    pub(crate) rows: Vec<Row>,
    /// Of the last timed round, pooled.
    pub(crate) pools: Option<Pools>,
    /// The smallest share over all timed runs; see [`Report::crossed`].
    pub(crate) crossed: Option<f64>,
    /// Requests per second of every timed round: plain, pooled, off.
    pub(crate) throughput: [Vec<f64>; 3],
    /// Medians over the rounds of [`Report::curve`]: plain, pooled, off.
    pub(crate) curves: [Vec<f64>; 3],
}

/// One figure of all sides.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: String,
    /// Medians over the rounds; `None` if a run did not report the figure.
    pub(crate) plain: Option<f64>,
    pub(crate) pooled: Option<f64>,
    pub(crate) off: Option<f64>,
    /// Pooled to plain, and off to plain.
    pub(crate) ratio: Option<Ratio>,
    pub(crate) off_ratio: Option<Ratio>,
    /// Which of plain and pooled is better.
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

impl Better {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pooled => "pooled",
            Self::Even => "even",
            Self::Unknown => "-",
        }
    }
}

/// What makes a row: its name, whether more is better, and where the figure is in a report.
struct Figure<'a> {
    name: String,
    more_is_better: bool,
    of: &'a dyn Fn(&Report) -> Option<f64>,
}

const MIB: f64 = 1_048_576.0;

/// Fails if the sides did not do the same work.
pub(crate) fn of(runs: &[Runs]) -> Result<Vec<Summary>, String> {
    runs.iter().map(summarise).collect()
}

fn summarise(runs: &Runs) -> Result<Summary, String> {
    for [plain, pooled, off] in runs.timed.iter().chain([&runs.counted]) {
        let name = runs.workload.name();
        if pooled.checksum != plain.checksum {
            return Err(format!("{name}: pooled replies differ from plain ones"));
        }
        if off.checksum != plain.checksum {
            return Err(format!(
                "{name}: replies with pools off differ from plain ones"
            ));
        }
    }
    let timed = |figure: Figure<'_>| row(&figure, &runs.timed, ENOUGH);
    // The count of calls hardly varies, so one run is enough.
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
    let reports = |side: usize| runs.timed.iter().map(move |reports| &reports[side]);
    Ok(Summary {
        workload: runs.workload,
        rows,
        pools: reports(1)
            .next_back()
            .and_then(|report| report.pools.clone()),
        crossed: (0..3)
            .flat_map(reports)
            .filter_map(|report| report.crossed)
            .reduce(f64::min),
        throughput: [0, 1, 2].map(|side| reports(side).map(|report| report.per_second).collect()),
        curves: [0, 1, 2].map(|side| {
            let curves: Vec<_> = reports(side).map(|report| &report.curve).collect();
            let steps = curves.iter().map(|curve| curve.len()).min().unwrap_or(0);
            (0..steps)
                .map(|step| median(curves.iter().map(|curve| curve[step] as f64).collect()))
                .collect()
        }),
    })
}

/// A row names a winner if there are `enough` rounds.
fn row(figure: &Figure<'_>, rounds: &[[Report; 3]], enough: usize) -> Row {
    let of = |side: usize| -> Option<Vec<f64>> {
        rounds
            .iter()
            .map(|reports| (figure.of)(&reports[side]))
            .collect()
    };
    let [plain, pooled, off] = [0, 1, 2].map(of);
    let to_plain = |other: &Option<Vec<f64>>| ratio(plain.as_ref()?, other.as_ref()?);
    let (to_pooled, to_off) = (to_plain(&pooled), to_plain(&off));
    let better = match (&plain, &pooled) {
        (Some(plain), Some(pooled)) if rounds.len() >= enough => {
            better(plain, pooled, to_pooled, figure.more_is_better)
        }
        _ => Better::Unknown,
    };
    Row {
        figure: figure.name.clone(),
        plain: plain.map(median),
        pooled: pooled.map(median),
        off: off.map(median),
        ratio: to_pooled,
        off_ratio: to_off,
        better,
    }
}

fn ratio(plain: &[f64], pooled: &[f64]) -> Option<Ratio> {
    // A ratio to zero is undefined.
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

/// A side is better if every round says so and the median ratio exceeds the margin. If there is no
/// ratio because plain has 0, the margin applies to the figure itself.
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
