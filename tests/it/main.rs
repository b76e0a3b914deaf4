//! Black-box tests: each is a claim of the crate's contract.
mod smoke;
