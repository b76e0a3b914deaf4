//! The figures as a chart: two panels over the same time, one line per variant.

use crate::child::{Run, Sample};
use crate::options::Options;
use crate::table::mib;
use crate::variant::Variant;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

const SIZE: (u32, u32) = (960, 780);
const HEAD: u32 = 86;
const FONT: &str = "sans-serif";

pub(crate) fn draw(path: &Path, options: &Options, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD);
    let line = |size: i32, color: RGBColor| (FONT, size).into_font().color(&color);
    head.draw_text(&options.title(), &line(21, BLACK), (20, 14))?;
    for (text, y) in options.caption().iter().zip([42, 61]) {
        head.draw_text(text, &line(14, GREY), (20, y))?;
    }

    let panels = body.split_evenly((2, 1));
    let most = runs
        .iter()
        .flat_map(|run| &run.samples)
        .map(|sample| mib(sample.idle.max(sample.rss)))
        .fold(1.0, f64::max);
    // The same scale in both: what the pool keeps is what the process keeps.
    let ranges = (options.seconds as f64, most * 1.1);
    let idle = |sample: &Sample| sample.idle;
    panel(
        &panels[0],
        "idle in the pool (MiB)",
        ranges,
        runs,
        idle,
        true,
    )?;
    let rss = |sample: &Sample| sample.rss;
    panel(
        &panels[1],
        "resident, VmRSS (MiB)",
        ranges,
        runs,
        rss,
        false,
    )?;
    root.present()?;
    Ok(())
}

const GREY: RGBColor = RGBColor(90, 90, 90);

fn panel<'a>(
    area: &Area<'a>,
    what: &str,
    (seconds, most): (f64, f64),
    runs: &[Run],
    figure: impl Fn(&Sample) -> u64,
    legend: bool,
) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(24)
        .x_label_area_size(46)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..seconds, 0.0..most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc("seconds since the last buffer was given back (s)")
        .y_desc(what)
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&|mib| format!("{mib:.0}"))
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 13))
        .draw()?;
    // Wide lines first, narrow ones on top: where two coincide, both are visible.
    for variant in [
        Variant::Plain,
        Variant::ObjectPool,
        Variant::Repool,
        Variant::ThreadLocal,
    ] {
        for run in runs.iter().filter(|run| run.variant == variant) {
            let points = run
                .samples
                .iter()
                .map(|sample| (sample.at, mib(figure(sample))));
            add(&mut chart, variant, points.collect())?;
        }
    }
    if legend {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleLeft)
            .label_font((FONT, 15))
            .legend_area_size(44)
            .margin(14)
            .border_style(RGBColor(200, 200, 200))
            .background_style(WHITE)
            .draw()?;
    }
    Ok(())
}

fn add<'a>(
    chart: &mut Chart<'a, 'a>,
    variant: Variant,
    points: Vec<(f64, f64)>,
) -> Result<(), Box<dyn Error>> {
    let (color, width, dashed) = look(variant);
    let style = color.stroke_width(width);
    let series = if dashed {
        chart.draw_series(DashedLineSeries::new(points, 9, 7, style))?
    } else {
        chart.draw_series(LineSeries::new(points, style))?
    };
    // A dashed line needs two pieces to look like one; in a solid line the second changes nothing.
    let end = if dashed { 14 } else { 36 };
    series.label(variant.name()).legend(move |at| {
        EmptyElement::at(at)
            + PathElement::new([(0, 0), (end, 0)], style)
            + PathElement::new([(22, 0), (36, 0)], style)
    });
    Ok(())
}

/// Colour (from Okabe and Ito's palette, safe for colour blindness), width, dashed.
fn look(variant: Variant) -> (RGBColor, u32, bool) {
    match variant {
        Variant::Plain => (RGBColor(170, 170, 170), 9, false),
        Variant::ObjectPool => (RGBColor(86, 180, 233), 9, false),
        Variant::ThreadLocal => (RGBColor(0, 60, 120), 2, true),
        Variant::Repool => (RGBColor(213, 94, 0), 4, false),
    }
}
