//! How long tests run.

/// Returns all of these cases; under Miri, at most this many, starting with the first.
#[allow(dead_code, reason = "not every test has cases")]
pub(crate) fn some<T>(all: impl IntoIterator<Item = T>, miri: usize) -> Vec<T> {
    let all: Vec<T> = all.into_iter().collect();
    let step = if cfg!(miri) {
        all.len().div_ceil(miri).max(1)
    } else {
        1
    };
    all.into_iter().step_by(step).collect()
}

/// Returns a number of repetitions: `full` times `REPOOL_TEST_SCALE` (default 1); `miri` under
/// Miri.
#[allow(dead_code, reason = "not every test repeats something")]
pub(crate) fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) {
        return miri;
    }
    let scale = std::env::var("REPOOL_TEST_SCALE")
        .ok()
        .and_then(|s| s.parse().ok());
    ((full as f64 * scale.unwrap_or(1.0)) as usize).max(1)
}
