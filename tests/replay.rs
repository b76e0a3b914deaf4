//! Runs the inputs that fuzzing found worth keeping (`fuzz/corpora/`), without a fuzzer; see
//! `fuzz/README.md`.
//!
//! A binary with a single test, because one of the programs counts what all threads allocate.
#![cfg(all(feature = "bumpalo", feature = "bytes"))]

#[path = "programs/mod.rs"]
mod programs;

use std::path::Path;

#[test]
fn what_fuzzing_has_found_is_still_fine() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora");
    if !corpora.is_dir() {
        println!("no corpora: they are no part of the package");
        return;
    }
    for (name, target) in programs::TARGETS {
        let packed = std::fs::read(corpora.join(name)).expect("a corpus for each target");
        let mut rest = &packed[..];
        let mut inputs = 0;
        // Each is preceded by its length.
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let len = u32::from_le_bytes(*len) as usize;
            let (input, others) = after.split_at(len);
            // Under Miri some of the shorter ones.
            if cfg!(not(miri)) || inputs % 8 == 3 && len < 120 {
                target(input);
            }
            (rest, inputs) = (others, inputs + 1);
        }
        println!("{name}: {inputs} programs, {} bytes", packed.len());
        assert!(inputs > 0 && rest.is_empty(), "{name}: not a corpus");
    }
}
