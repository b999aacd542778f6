//! A matrix of damage, place and archive: the results of `pg_restore --list`, of a restore, and of
//! this crate.

mod bit_flips;
mod blocks;
mod edit;
mod kinds;
mod layout;
mod matrix;
mod overwrites;
mod random_flips;
mod recompressed;
mod specimen;
mod toc_fields;
mod truncations;

use longshore_testkit::cluster::Installation;

use crate::support::scope::Scope;

#[test]
fn detects_damage_in_archives_of_system_release() {
    matrix::run(&Installation::system(), &["none", "gzip"], Scope::Sample);
}

#[test]
fn detects_damage_in_lz4_and_zstd_archives() {
    matrix::run(&Installation::newer(), &["lz4", "zstd"], Scope::Sample);
}

#[test]
fn detects_bit_flips_covered_by_gzip() {
    random_flips::run(&Installation::system());
}

/// Every damage in every archive instead of one, and a newer release without lz4 and zstd.
mod slow {
    use longshore_testkit::cluster::Installation;

    use super::{matrix, random_flips};
    use crate::support::scope::Scope;

    #[test]
    fn detects_every_damage_in_archives_of_system_release() {
        matrix::run(&Installation::system(), &["none", "gzip"], Scope::Complete);
    }

    #[test]
    fn detects_every_damage_in_lz4_and_zstd_archives() {
        matrix::run(&Installation::newer(), &["lz4", "zstd"], Scope::Complete);
    }

    #[test]
    fn detects_damage_in_archives_of_newer_release() {
        matrix::run(&Installation::newer(), &["none", "gzip"], Scope::Complete);
    }

    #[test]
    fn detects_bit_flips_covered_by_gzip_of_newer_release() {
        random_flips::run(&Installation::newer());
    }
}
