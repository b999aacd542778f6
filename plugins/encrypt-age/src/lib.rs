//! Seals and opens ordinary age files.
