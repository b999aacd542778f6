//! A matrix of damage, place and archive: the results of `pg_restore --list`, of a restore, and of
//! this crate.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]
#![allow(clippy::print_stdout, reason = "the table is the result of the test")]

#[path = "damage/bits.rs"]
mod bits;
#[path = "damage/blocks.rs"]
mod blocks;
#[path = "damage/contents.rs"]
mod contents;
#[path = "damage/cuts.rs"]
mod cuts;
#[path = "damage/edit.rs"]
mod edit;
#[path = "damage/flips.rs"]
mod flips;
#[path = "damage/layout.rs"]
mod layout;
#[path = "damage/matrix.rs"]
mod matrix;
#[path = "damage/overwritten.rs"]
mod overwritten;
#[path = "damage/pg_restore.rs"]
mod pg_restore;
#[path = "support/random.rs"]
mod random;
#[path = "damage/recompressed.rs"]
mod recompressed;
#[path = "damage/specimen.rs"]
mod specimen;
mod support;
#[path = "damage/table.rs"]
mod table;

use longshore_testkit::cluster::Installation;

use crate::edit::Damage;
use crate::specimen::Specimen;

/// Returns all damages that can be applied to an archive.
fn damages(specimen: &Specimen) -> Vec<Damage> {
    let mut kinds: Vec<fn(&Specimen) -> Vec<Damage>> = vec![
        cuts::truncations,
        cuts::shifts,
        cuts::remains,
        cuts::conversions,
        overwritten::zeros,
        overwritten::foreign,
        bits::framing,
        bits::payload,
        bits::compression,
        blocks::chunks,
        blocks::blocks,
        blocks::large_objects,
        contents::header,
        recompressed::data,
        recompressed::ends,
    ];
    // The TOC does not depend on the compression of the data.
    if specimen.archive.compression == "gzip" {
        kinds.extend([contents::data_entries, contents::other_entries]);
    }
    kinds.into_iter().flat_map(|kind| kind(specimen)).collect()
}

#[test]
fn every_damage_that_changes_a_restore_is_found_in_archives_of_the_system() {
    matrix::run(&Installation::system(), &["none", "gzip"]);
}

#[test]
fn every_damage_is_found_in_archives_that_only_a_newer_release_makes() {
    matrix::run(&Installation::newer(), &["lz4", "zstd"]);
}

#[test]
fn no_bit_that_gzip_guards_flips_unseen() {
    flips::run(&Installation::system());
}

/// The complete matrix for a newer release.
mod slow {
    use longshore_testkit::cluster::Installation;

    use crate::{flips, matrix};

    #[test]
    fn every_damage_that_changes_a_restore_is_found_in_archives_of_a_newer_release() {
        matrix::run(&Installation::newer(), &["none", "gzip"]);
    }

    #[test]
    fn no_bit_that_gzip_guards_flips_unseen_in_a_newer_release() {
        flips::run(&Installation::newer());
    }
}
