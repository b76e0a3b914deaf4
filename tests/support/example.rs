//! Finds the program of an example. Cargo gives tests the paths of a package's programs, but not
//! those of its examples, which it builds beside the tests.

use std::env;
use std::path::{Path, PathBuf};

/// Returns the path of an example's program.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its path");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("in target/<profile>/deps");
    let program = profile
        .join("examples")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is missing: `cargo test` builds it, `cargo test --test ..` does not; \
         run `cargo build --examples` first",
        program.display()
    );
    program
}
