//! A matrix of damage, place and archive: the results of `pg_restore --list`, of a restore, and of
//! this crate.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]
#![allow(clippy::print_stdout, reason = "the table is the result of the test")]

#[path = "damage/bit_flips.rs"]
mod bit_flips;
#[path = "damage/blocks.rs"]
mod blocks;
#[path = "damage/edit.rs"]
mod edit;
#[path = "damage/layout.rs"]
mod layout;
#[path = "damage/matrix.rs"]
mod matrix;
#[path = "damage/overwrites.rs"]
mod overwrites;
#[path = "damage/pg_restore.rs"]
mod pg_restore;
#[path = "support/random.rs"]
mod random;
#[path = "damage/random_flips.rs"]
mod random_flips;
#[path = "damage/recompressed.rs"]
mod recompressed;
#[path = "damage/specimen.rs"]
mod specimen;
mod support;
#[path = "damage/table.rs"]
mod table;
#[path = "damage/toc_fields.rs"]
mod toc_fields;
#[path = "damage/truncations.rs"]
mod truncations;

use longshore_testkit::cluster::Installation;

use crate::edit::Damage;
use crate::specimen::Specimen;

/// Returns all damages that can be applied to an archive.
fn damages(specimen: &Specimen) -> Vec<Damage> {
    let mut kinds: Vec<fn(&Specimen) -> Vec<Damage>> = vec![
        truncations::truncations,
        truncations::shifts,
        truncations::additions,
        truncations::conversions,
        overwrites::zeros,
        overwrites::foreign,
        bit_flips::framing,
        bit_flips::payload,
        bit_flips::compression,
        blocks::chunks,
        blocks::blocks,
        blocks::large_objects,
        toc_fields::header,
        recompressed::data,
        recompressed::ends,
    ];
    // The TOC does not depend on the compression of the data.
    if specimen.archive.compression == "gzip" {
        kinds.extend([toc_fields::data_entries, toc_fields::other_entries]);
    }
    kinds.into_iter().flat_map(|kind| kind(specimen)).collect()
}

#[test]
fn detects_damage_in_archives_of_system_release() {
    matrix::run(&Installation::system(), &["none", "gzip"]);
}

#[test]
fn detects_damage_in_lz4_and_zstd_archives() {
    matrix::run(&Installation::newer(), &["lz4", "zstd"]);
}

#[test]
fn detects_bit_flips_covered_by_gzip() {
    random_flips::run(&Installation::system());
}

/// The complete matrix for a newer release.
mod slow {
    use longshore_testkit::cluster::Installation;

    use crate::{matrix, random_flips};

    #[test]
    fn detects_damage_in_archives_of_newer_release() {
        matrix::run(&Installation::newer(), &["none", "gzip"]);
    }

    #[test]
    fn detects_bit_flips_covered_by_gzip_of_newer_release() {
        random_flips::run(&Installation::newer());
    }
}
