//! The example `server`, from outside: what it answers, what it rejects, that neither leaks, and
//! how it stops.

// Miri starts no processes.
#![cfg(not(any(repool_loom, miri)))]

#[path = "server/bad.rs"]
mod bad;
#[path = "server/client.rs"]
mod client;
#[path = "server/command.rs"]
mod command;
#[path = "server/events.rs"]
mod events;
#[path = "support/example.rs"]
mod example;
#[path = "server/figures.rs"]
mod figures;
#[path = "server/stop.rs"]
mod stop;
