//! Takes PostgreSQL backups off the host, verified, sealed, and provably restorable.
fn main() {}
