//! What the compiler says if a type cannot be pooled as it is: the message has to say what to do.
//!
//! The compiler's part of a message changes with its version, so messages are compared for one
//! version only, that of the development machines, and with all features; other versions skip this
//! test. `TRYBUILD=overwrite cargo test --all-features --test ui` writes them again.
#![cfg(all(
    feature = "bumpalo",
    feature = "bytes",
    feature = "derive",
    feature = "hashbrown",
    feature = "indexmap",
    feature = "serde",
    feature = "smallvec",
    feature = "tokio",
    feature = "zeroize",
    not(miri)
))]

use std::process::Command;

/// The version whose messages are in `tests/ui/*.stderr`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn messages_say_what_to_do() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("-V").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match version {
        Ok(version) if version.starts_with(COMPILER) => {
            trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
        }
        version => println!("skipped: messages are those of {COMPILER}x, this is {version:?}"),
    }
}
