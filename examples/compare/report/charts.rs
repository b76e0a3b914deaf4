//! The charts, as SVG text without a background.
//!
//! Colours stand for roles: `style.rs` maps each to a colour of the reader's light or dark page, so
//! nothing else may use them. Sides also differ by dash and width, for print and for readers who
//! see few colours.

use crate::summary::Summary;
use crate::task::{Burst, STEPS, Side};
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use std::error::Error;
use std::ops::Range;

type Outcome = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) const INK: RGBColor = RGBColor(1, 1, 1);
pub(crate) const GRID: RGBColor = RGBColor(2, 2, 2);
pub(crate) const PLAIN: RGBColor = RGBColor(3, 3, 3);
pub(crate) const POOLED: RGBColor = RGBColor(4, 4, 4);
pub(crate) const OFF: RGBColor = RGBColor(5, 5, 5);

/// Narrow, so that a phone shows a whole chart at nearly full size.
const WIDTH: u32 = 440;
/// The height of the key.
const HEAD: u32 = 24;
const FONT: &str = "sans-serif";
const MIB: f64 = 1_048_576.0;

fn color(side: Side) -> RGBColor {
    match side {
        Side::Plain => PLAIN,
        Side::Pooled => POOLED,
        Side::Off => OFF,
    }
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// Draws into a new SVG text.
fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Outcome) -> Result<String, String> {
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, (WIDTH, height)).into_drawing_area();
        draw(&area)
            .and_then(|()| Ok(area.present()?))
            .map_err(|error| format!("cannot draw: {error}"))?;
    }
    Ok(picture)
}

/// Latency against percentile, each nine as wide as the previous one.
pub(crate) fn latency(summary: &Summary) -> Result<String, String> {
    let curve = |side: usize| {
        summary.curves[side]
            .iter()
            .enumerate()
            .map(|(step, ns)| (step as f64 / STEPS as f64, (ns / 1e3).max(0.001)))
    };
    let points = || (0..3).flat_map(curve);
    let nines = points().map(|point| point.0).fold(1.0, f64::max);
    let lowest = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    if !lowest.is_finite() {
        return Err(format!("no latencies of {}", summary.workload.name()));
    }
    svg(290, |area| {
        let (head, area) = area.split_vertically(HEAD);
        key(&head, &sides())?;
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .margin_right(22)
            .x_label_area_size(40)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..nines, (lowest * 0.8..highest * 1.25).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(nines.ceil() as usize + 1)
            .y_labels(7)
            .x_desc("percentile of requests")
            .y_desc("latency, µs")
            .x_label_formatter(&|nines| percentile(*nines))
            .y_label_formatter(&|micros| micro(*micros))
            .label_style(text(12))
            .axis_desc_style(text(13))
            .draw()?;
        for (number, side) in Side::ALL.into_iter().enumerate() {
            line(&mut chart, side, curve(number).collect())?;
        }
        Ok(())
    })
}

fn percentile(nines: f64) -> String {
    match nines.round() as i32 {
        0 => "0".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

fn micro(micros: f64) -> String {
    match micros {
        1_000_000.0.. => format!("{:.0} s", micros / 1e6),
        1_000.0.. => format!("{:.0},000", micros / 1e3),
        1.0.. => format!("{micros:.0}"),
        _ => format!("{micros}"),
    }
}

type Chart<'a, 'b, Y> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>;

fn line<'b, Y>(chart: &mut Chart<'_, 'b, Y>, side: Side, points: Vec<(f64, f64)>) -> Outcome
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let solid = color(side).stroke_width(if side == Side::Pooled { 3 } else { 2 });
    match side {
        Side::Pooled => chart.draw_series(LineSeries::new(points, solid))?,
        Side::Plain => chart.draw_series(DashedLineSeries::new(points, 8, 4, solid))?,
        Side::Off => chart.draw_series(DashedLineSeries::new(points, 2, 3, solid))?,
    };
    Ok(())
}

/// The throughput of each round as a multiple of plain's median: a line from the lowest to the
/// highest, a dot for each round, a bar at the median.
pub(crate) fn throughput(summaries: &[Summary]) -> Result<String, String> {
    let rows: Vec<Row> = summaries
        .iter()
        .map(|summary| {
            let plain = median(&summary.throughput[0]);
            let relative = |side: &Vec<f64>| side.iter().map(|one| one / plain).collect();
            Row {
                name: summary.workload.name(),
                sides: summary.throughput.each_ref().map(relative),
            }
        })
        .collect();
    rows_chart(
        &rows,
        "requests per second, as a multiple of plain's median",
        None,
    )
}

/// Allocator calls per request.
pub(crate) fn calls(summaries: &[Summary]) -> Result<String, String> {
    const FIGURE: &str = "allocator calls/request";
    let rows: Vec<Row> = summaries
        .iter()
        .filter_map(|summary| {
            let row = summary.rows.iter().find(|row| row.figure == FIGURE)?;
            let one = |figure: Option<f64>| figure.into_iter().collect();
            Some(Row {
                name: summary.workload.name(),
                sides: [one(row.plain), one(row.pooled), one(row.off)],
            })
        })
        .collect();
    rows_chart(&rows, "allocator calls per request", Some(0.01))
}

/// One workload.
struct Row {
    name: &'static str,
    sides: [Vec<f64>; 3],
}

/// A row per workload, with a line per side, on a logarithmic scale. A figure below `least` is
/// drawn there, and the axis label says 0.
fn rows_chart(rows: &[Row], what: &str, least: Option<f64>) -> Result<String, String> {
    let figures = || rows.iter().flat_map(|row| row.sides.iter().flatten());
    let shown = |figure: f64| figure.max(least.unwrap_or(f64::MIN_POSITIVE));
    let lowest = figures()
        .map(|&one| shown(one))
        .fold(f64::INFINITY, f64::min);
    let highest = figures().map(|&one| shown(one)).fold(0.0, f64::max);
    if !lowest.is_finite() {
        return Err("no figures to draw".to_owned());
    }
    let height = 64 + 58 * rows.len() as u32 + HEAD;
    svg(height, |area| {
        let (head, area) = area.split_vertically(HEAD);
        key(&head, &sides())?;
        let range: Range<f64> = lowest * 0.8..highest * 1.25;
        let marks = marks(&range);
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .margin_right(22)
            .x_label_area_size(40)
            .y_label_area_size(72)
            .build_cartesian_2d(
                range.log_scale().with_key_points(marks.clone()),
                0.0..rows.len() as f64,
            )?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(marks.len())
            .y_labels(0)
            .x_desc(what)
            .x_label_formatter(&|figure| match least {
                Some(least) if *figure <= least => "0".to_owned(),
                _ => plain_number(*figure),
            })
            .label_style(text(12))
            .axis_desc_style(text(13))
            .draw()?;
        for below in 1..rows.len() {
            let y = below as f64;
            let across = vec![(lowest * 0.8, y), (highest * 1.25, y)];
            chart.draw_series([PathElement::new(across, GRID.stroke_width(1))])?;
        }
        for (number, row) in rows.iter().enumerate() {
            let top = (rows.len() - number) as f64;
            let (left, middle) = chart.backend_coord(&(lowest * 0.8, top - 0.5));
            let label = text(13).pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Right,
                plotters::style::text_anchor::VPos::Center,
            ));
            area.draw(&Text::new(row.name, (left - 8, middle - 24), label))?;
            for (side, figures) in Side::ALL.into_iter().zip(&row.sides) {
                let y = top - 0.24 - 0.26 * side_number(side);
                let figures: Vec<_> = figures.iter().map(|&one| shown(one)).collect();
                spread(&mut chart, side, y, &figures)?;
            }
        }
        Ok(())
    })
}

/// Where a logarithmic axis has labels: at few multiples of the powers of ten if it is long, at more
/// if it is short. (The library's own come too close to each other below a power.)
fn marks(range: &Range<f64>) -> Vec<f64> {
    let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let of = |steps: &[u32]| -> Vec<f64> {
        let all = decades.clone().flat_map(|decade| {
            let of_decade = move |&step| f64::from(step) * 10_f64.powi(decade);
            steps.iter().map(of_decade)
        });
        all.filter(|mark| range.contains(mark)).collect()
    };
    let choices = [&[1][..], &[1, 2, 5], &[1, 2, 3, 4, 5, 6, 7, 8]];
    let enough = choices.into_iter().map(of).find(|marks| marks.len() > 3);
    enough.unwrap_or_else(|| of(choices[2]))
}

fn side_number(side: Side) -> f64 {
    match side {
        Side::Plain => 0.0,
        Side::Pooled => 1.0,
        Side::Off => 2.0,
    }
}

fn spread<'b, X>(
    chart: &mut ChartContext<
        '_,
        SVGBackend<'b>,
        Cartesian2d<X, plotters::coord::types::RangedCoordf64>,
    >,
    side: Side,
    y: f64,
    figures: &[f64],
) -> Outcome
where
    X: Ranged<ValueType = f64>,
{
    let Some(lowest) = figures.iter().copied().reduce(f64::min) else {
        return Ok(());
    };
    let highest = figures.iter().copied().fold(lowest, f64::max);
    let color = color(side);
    let ends = vec![(lowest, y), (highest, y)];
    chart.draw_series([PathElement::new(ends, color.stroke_width(2))])?;
    let dots = figures
        .iter()
        .map(|&one| Circle::new((one, y), 2, color.filled()));
    chart.draw_series(dots)?;
    let bar = vec![(median(figures), y - 0.11), (median(figures), y + 0.11)];
    chart.draw_series([PathElement::new(bar, color.stroke_width(4))])?;
    Ok(())
}

/// Draws the key: a piece of each line, and its name.
fn key(area: &Area<'_>, names: &[(&str, ShapeStyle)]) -> Outcome {
    for (number, (name, style)) in names.iter().enumerate() {
        let x = 64 + 96 * number as i32;
        let piece = vec![(x, 12), (x + 18, 12)];
        area.draw(&PathElement::new(piece, *style))?;
        area.draw(&Text::new(*name, (x + 24, 5), text(13)))?;
    }
    Ok(())
}

/// The key of a chart with all sides.
fn sides() -> [(&'static str, ShapeStyle); 3] {
    Side::ALL.map(|side| (side.name(), color(side).stroke_width(3)))
}

/// Resident memory through a burst and the idle time after it. Marks show passes that dropped
/// something, and the call that asks the allocator for free pages.
pub(crate) fn memory(plain: &Burst, pooled: &Burst) -> Result<String, String> {
    let points = |burst: &Burst, figure: fn(&crate::task::Sample) -> u64| -> Vec<(f64, f64)> {
        let samples = burst.samples.iter();
        samples
            .map(|sample| (sample.seconds, figure(sample) as f64 / MIB))
            .collect()
    };
    let sides = [
        (Side::Plain, points(plain, |sample| sample.rss)),
        (Side::Pooled, points(pooled, |sample| sample.rss)),
    ];
    let all = || sides.iter().flat_map(|(_, points)| points);
    let last = all().map(|point| point.0).fold(0.0, f64::max);
    let most = all().map(|point| point.1).fold(1.0, f64::max) * 1.4;
    svg(340, |area| {
        let (head, area) = area.split_vertically(HEAD);
        let names = [
            ("plain", PLAIN.stroke_width(2)),
            ("pooled", POOLED.stroke_width(3)),
            ("idle in pools", POOLED.stroke_width(1)),
        ];
        key(&head, &names)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .margin_right(22)
            .x_label_area_size(40)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..last, 0.0..most)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_desc("seconds since the burst began")
            .y_desc("MiB")
            .x_label_formatter(&|seconds| plain_number(*seconds))
            .y_label_formatter(&|mib| format!("{mib:.0}"))
            .label_style(text(12))
            .axis_desc_style(text(13))
            .draw()?;
        let marks = std::iter::once((pooled.load_ended, "load ends"))
            .chain(passes(pooled).map(|at| (at, "pass")))
            .chain([(pooled.allocator_trimmed, "malloc_trim")]);
        for (at, what) in marks {
            let upright = vec![(at, 0.0), (at, most)];
            chart.draw_series(DashedLineSeries::new(upright, 3, 4, INK.stroke_width(1)))?;
            let (x, y) = chart.backend_coord(&(at, most));
            let turned = text(11).transform(FontTransform::Rotate90);
            area.draw(&Text::new(what, (x + 13, y + 3), turned))?;
        }
        for (side, points) in sides.clone() {
            line(&mut chart, side, points)?;
        }
        let idle = points(pooled, |sample| sample.idle_bytes);
        let thin = POOLED.stroke_width(1);
        chart.draw_series(LineSeries::new(idle, thin))?;
        Ok(())
    })
}

/// Returns when passes dropped something.
pub(crate) fn passes(burst: &Burst) -> impl Iterator<Item = f64> + '_ {
    burst
        .samples
        .windows(2)
        .filter(|pair| pair[1].trimmed > pair[0].trimmed)
        .map(|pair| pair[1].seconds)
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(figures[length / 2 - 1], figures[length / 2]),
        length => figures[length / 2],
    }
}

/// Formats a number for a scale: 0.05, 2, 1,000.
fn plain_number(figure: f64) -> String {
    match figure {
        1_000.0.. => format!("{:.0},000", figure / 1e3),
        10.0.. => format!("{figure:.0}"),
        _ => format!("{}", (figure * 1e3).round() / 1e3),
    }
}
