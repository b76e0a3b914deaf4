//! How long tests run.

/// How often: `full` times `REPOOL_TEST_SCALE` (default 1), or `miri` times under Miri.
pub(crate) fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) {
        return miri;
    }
    let scale = std::env::var("REPOOL_TEST_SCALE")
        .ok()
        .and_then(|s| s.parse().ok());
    ((full as f64 * scale.unwrap_or(1.0)) as usize).max(1)
}
