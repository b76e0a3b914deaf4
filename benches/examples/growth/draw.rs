//! The charts: one panel per curve, both axes logarithmic.

use crate::cost::Curve;
use crate::model::Panel;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::ops::Range;
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), Box<dyn Error>>;

const SIZE: (u32, u32) = (960, 820);
const HEAD: u32 = 44;
const FONT: &str = "sans-serif";
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Okabe and Ito's colours, which colour-blind readers can tell apart.
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const SKY: RGBColor = RGBColor(86, 180, 233);
const YELLOW: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const GREY: RGBColor = RGBColor(150, 150, 150);

/// One line of a panel.
struct Series<'a> {
    name: &'a str,
    color: RGBColor,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

/// What get, write and drop cost.
pub(crate) fn costs(path: &Path, curves: &[Curve]) -> Outcome {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let body = titled(
        &root,
        "get, write, drop: nanoseconds of processor time for an object",
    )?;
    for (area, curve) in body.split_evenly((2, 2)).iter().zip(curves) {
        let series = curve.lines.iter().map(|line| {
            let plain = line.name.starts_with("plain");
            let all = line.name.ends_with("all written");
            Series {
                name: line.name,
                color: match (plain, all) {
                    (false, false) => ORANGE,
                    (false, true) => YELLOW,
                    (true, false) => BLUE,
                    (true, true) => SKY,
                },
                dashed: plain,
                points: line.points.iter().map(|(x, y)| (*x, y.median)).collect(),
            }
        });
        let scale = if curve.what.starts_with("bytes") {
            bytes
        } else {
            number
        };
        panel(area, curve.what, "ns", scale, &series.collect::<Vec<_>>())?;
    }
    root.present()?;
    Ok(())
}

/// Simulated cores.
pub(crate) fn cores(path: &Path, panels: &[Panel]) -> Outcome {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let body = titled(
        &root,
        "simulated: objects that cross threads in a microsecond, by cores",
    )?;
    let colors = [ORANGE, YELLOW, GREEN, SKY, BLUE];
    for (area, panel_of) in body.split_evenly((2, 2)).iter().zip(panels) {
        let names: Vec<String> = panel_of
            .lines
            .iter()
            .map(|(depots, _)| match depots {
                1 => "1 depot, as it is".to_owned(),
                depots => format!("{depots} depots"),
            })
            .collect();
        let mut series = vec![Series {
            name: "no core waits",
            color: GREY,
            dashed: true,
            points: panel_of.linear.clone(),
        }];
        // The existing one is on top.
        let lines = panel_of.lines.iter().zip(&names).zip(colors).rev();
        series.extend(lines.map(|(((_, points), name), color)| Series {
            name,
            color,
            dashed: false,
            points: points.clone(),
        }));
        panel(
            area,
            &format!("cores, {}", panel_of.title),
            "objects/µs",
            number,
            &series,
        )?;
    }
    root.present()?;
    Ok(())
}

fn titled<'a>(root: &Area<'a>, title: &str) -> Result<Area<'a>, Box<dyn Error>> {
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD);
    head.draw_text(title, &(FONT, 20).into_font().color(&BLACK), (20, 14))?;
    Ok(body)
}

fn panel(
    area: &Area<'_>,
    x: &str,
    y: &str,
    x_label: fn(f64) -> String,
    series: &[Series<'_>],
) -> Outcome {
    let range = |of: fn(&(f64, f64)) -> f64| -> Range<f64> {
        let all = || series.iter().flat_map(|one| one.points.iter().map(of));
        let (low, high) = (
            all().fold(f64::INFINITY, f64::min),
            all().fold(0.0, f64::max),
        );
        low..high
    };
    let (across, up) = (range(|point| point.0), range(|point| point.1));
    if !across.start.is_finite() {
        return Err("there is nothing to draw".into());
    }
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(22)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(
            (across.start..across.end * 1.05).log_scale().base(2.0),
            // Room for the key above. Few decades have few marks.
            (up.start * 0.7..up.end * 6.0)
                .log_scale()
                .base(if up.end > 100.0 * up.start { 10.0 } else { 2.0 }),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .x_desc(x)
        .y_desc(y)
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&|figure| x_label(*figure))
        .y_label_formatter(&|figure| number(*figure))
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 12))
        .draw()?;
    for one in series {
        let style = one.color.stroke_width(if one.dashed { 2 } else { 3 });
        let points = one.points.iter().copied();
        let drawn = if one.dashed {
            chart.draw_series(DashedLineSeries::new(points, 7, 5, style))?
        } else {
            chart.draw_series(LineSeries::new(points, style))?
        };
        let dashed = one.dashed;
        drawn.label(one.name).legend(move |at| {
            let (end, next) = if dashed { (10, 16) } else { (13, 13) };
            EmptyElement::at(at)
                + PathElement::new([(0, 0), (end, 0)], style)
                + PathElement::new([(next, 0), (26, 0)], style)
        });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 13))
        .legend_area_size(32)
        .margin(8)
        .border_style(RGBColor(200, 200, 200))
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

/// Formats a number for a scale: 0.1, 20, 4,000.
fn number(figure: f64) -> String {
    match figure {
        1e6.. => format!("{:.0} M", figure / 1e6),
        1e3.. => {
            let whole = figure.round() as u64;
            format!("{},{:03}", whole / 1000, whole % 1000)
        }
        _ => format!("{}", (figure * 100.0).round() / 100.0),
    }
}

fn bytes(figure: f64) -> String {
    match figure.round() as u64 {
        figure @ 1_048_576.. => format!("{} MiB", figure >> 20),
        figure @ 1_024.. => format!("{} KiB", figure >> 10),
        figure => format!("{figure} B"),
    }
}
