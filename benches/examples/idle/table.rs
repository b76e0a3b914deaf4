//! The figures as text.

use crate::child::{Run, Sample};
use crate::options::Options;

/// The moments that are printed, in seconds since the last object was returned.
const MOMENTS: [u64; 6] = [0, 5, 10, 15, 20, 30];

pub(crate) fn print(options: &Options, runs: &[Run]) {
    let moments: Vec<u64> = MOMENTS
        .into_iter()
        .filter(|&moment| moment <= options.seconds)
        .collect();
    println!("{}", options.title());
    for line in options.caption().iter().filter(|line| !line.is_empty()) {
        println!("{line}");
    }

    print!("\n{:<28} {:>7} {:>7}", "RSS, MiB", "before", "peak");
    head(&moments);
    for run in runs {
        print!(
            "{:<28} {:>7.0} {:>7.0}",
            run.variant.name(),
            mib(run.before),
            mib(run.peak)
        );
        row(run, &moments, |sample| sample.rss);
    }

    print!("\n{:<28} {:>7} {:>7}", "idle in the pool, MiB", "", "");
    head(&moments);
    for run in runs {
        print!("{:<28} {:>7} {:>7}", run.variant.name(), "", "");
        row(run, &moments, |sample| sample.idle);
    }

    println!();
    for run in runs {
        let name = run.variant.name();
        // A tenth of what the load added.
        let low = run.before + run.peak.saturating_sub(run.before) / 10;
        println!("{name}:");
        println!(
            "    idle bytes gone: {}",
            since(run, |sample| sample.idle == 0)
        );
        println!(
            "    90 % of the load's RSS gone: {}",
            since(run, |sample| sample.rss <= low)
        );
        if let Some(bytes) = run.in_use {
            println!(
                "    in use at the end, says the allocator: {:.1} MiB",
                mib(bytes)
            );
        }
        if run.refused > 0 {
            let buffers = run.refused;
            println!(
                "    {buffers} buffers not taken back, since many threads returned theirs at once"
            );
        }
        if run.pressed {
            println!("    memory was short in the meantime: repool trims sooner then");
        }
    }
}

fn head(moments: &[u64]) {
    for moment in moments {
        print!(" {:>7}", format!("{moment} s"));
    }
    println!();
}

fn row(run: &Run, moments: &[u64], figure: impl Fn(&Sample) -> u64) {
    for &moment in moments {
        match run.at(moment) {
            Some(sample) => print!(" {:>7.0}", mib(figure(sample))),
            None => print!(" {:>7}", "-"),
        }
    }
    println!();
}

/// From when on something held, to the end.
fn since(run: &Run, is_so: impl Fn(&Sample) -> bool) -> String {
    let first = run
        .samples
        .iter()
        .rposition(|sample| !is_so(sample))
        .map_or(0, |last| last + 1);
    run.samples.get(first).map_or_else(
        || "never".to_owned(),
        |sample| format!("after {:.2} s", sample.at),
    )
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}
