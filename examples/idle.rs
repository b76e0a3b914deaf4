//! Draws whether idle memory comes back: this pool, `object-pool`, a thread-local cache and plain
//! allocation.
//!
//! ```sh
//! cargo run --release --example idle -- --out idle.svg
//! ```
//!
//! The program itself is `benches/examples/idle`: it measures a peer, and peers stay out of this
//! package's lock file. This example starts it and passes its arguments on. It needs a checkout of
//! the repository, because the package on crates.io does not contain `benches`.

use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/Cargo.toml");
    if !benches.exists() {
        eprintln!(
            "error: {} is not there: this example runs in a checkout of the repository",
            benches.display()
        );
        return ExitCode::from(2);
    }
    let status = Command::new(env!("CARGO"))
        .args(["run", "--release", "--locked", "--example", "idle"])
        .arg("--manifest-path")
        .arg(&benches)
        .arg("--")
        .args(std::env::args_os().skip(1))
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        // The program has printed the reason.
        Ok(status) => ExitCode::from(
            status
                .code()
                .and_then(|code| code.try_into().ok())
                .unwrap_or(1),
        ),
        Err(error) => {
            eprintln!("error: cannot run {}: {error}", benches.display());
            ExitCode::FAILURE
        }
    }
}
