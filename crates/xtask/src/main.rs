//! cargo xtask demo, test and bench, and the set-up of a fresh machine.
fn main() {}
