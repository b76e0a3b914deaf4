//! What the measuring programs print around their figures.

use std::thread;

/// One line of figures: the median and the quartiles.
pub fn line(name: &str, mut figures: Vec<f64>, note: &str) {
    if figures.is_empty() {
        println!("{name:<40} no figures");
        return;
    }
    figures.sort_by(f64::total_cmp);
    let at = |share: f64| figures[(share * (figures.len() - 1) as f64).round() as usize];
    let quartiles = format!("{:.3} - {:.3}", at(0.25), at(0.75));
    println!("{name:<40} {:>8.3} {quartiles:>17}{note}", at(0.5));
}

/// Everything that a figure must come with.
pub fn print_setting(args: &[String]) {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpu.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(": "))
            .unwrap_or("unknown")
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("machine  {}, {cores} cores", field("model name"));
    println!("load     {}", load.split(' ').next().unwrap_or("unknown"));
    println!("rustc    {}", env!("BENCH_RUSTC"));
    println!("commit   {}", env!("BENCH_COMMIT"));
    println!("command  {}\n", args.join(" "));
}
