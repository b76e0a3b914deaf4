//! The colours of the page and its charts: one set for light pages and paper, one for dark pages.

use super::charts::{GRID, INK, OFF, PLAIN, POOLED};
use plotters::style::RGBColor;
use std::fmt::Write;

/// Role, name, light, dark. The three sides use Okabe and Ito's vermilion and blue, and a grey.
const ROLES: [(RGBColor, &str, &str, &str); 5] = [
    (INK, "ink", "#1f2328", "#e6edf3"),
    (GRID, "grid", "#d8dee4", "#30363d"),
    (PLAIN, "plain", "#c2410c", "#f0883e"),
    (POOLED, "pooled", "#0b62a8", "#58a6ff"),
    (OFF, "off", "#6e7781", "#9da7b1"),
];

const PAGE: &str = "
body { margin: 0 auto; padding: 1rem; max-width: 1400px; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.verdict { font-size: 1.15rem; max-width: 50rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 1rem 0; }
dt { color: var(--off); } dd { margin: 0; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr));
  gap: 1.5rem; align-items: start; }
figure { margin: 0; break-inside: avoid; } figcaption { font-size: .9rem; }
svg { display: block; width: 100%; max-width: 520px; height: auto; }
.table { overflow-x: auto; break-inside: avoid; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.won { font-weight: 700; }
ul { padding-left: 1.2rem; max-width: 55rem; }
@media (max-width: 600px) { table { font-size: .78rem; } th, td { padding: .2rem .35rem; }
  th:first-child, td:first-child { position: sticky; left: 0; background: var(--page); } }
@media print { body { padding: 0; max-width: none; font-size: 11pt; } h2, h3 { break-after: avoid; }
  .charts { grid-template-columns: 1fr 1fr; } table { font-size: 8.5pt; } .table { overflow: visible; } }
";

/// Returns the style of the page, charts included.
pub(crate) fn page() -> String {
    format!("{}{PAGE}", colors())
}

/// Returns a chart as a file of its own.
pub(crate) fn alone(picture: &str) -> String {
    let style = format!(
        "<style>{}svg {{ background: var(--page); }}</style>",
        colors()
    );
    match picture.find('>') {
        // After the opening tag.
        Some(at) => format!("{}{style}{}", &picture[..=at], &picture[at + 1..]),
        None => picture.to_owned(),
    }
}

fn colors() -> String {
    let mut light = "--page: #ffffff;".to_owned();
    let mut dark = "--page: #0d1117;".to_owned();
    let mut rules = String::new();
    for (role, name, by_day, by_night) in ROLES {
        let RGBColor(red, green, blue) = role;
        let drawn = format!("#{red:02X}{green:02X}{blue:02X}");
        // Writing to a String cannot fail.
        let _ = write!(light, " --{name}: {by_day};");
        let _ = write!(dark, " --{name}: {by_night};");
        let _ = writeln!(
            rules,
            "svg [stroke=\"{drawn}\"] {{ stroke: var(--{name}); }} \
             svg [fill=\"{drawn}\"] {{ fill: var(--{name}); }}"
        );
    }
    format!(
        ":root {{ color-scheme: light dark; {light} }}\n\
         @media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{rules}"
    )
}
