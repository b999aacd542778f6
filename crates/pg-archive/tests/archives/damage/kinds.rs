//! All kinds of damage.

use crate::damage::edit::Damage;
use crate::damage::specimen::Specimen;
use crate::damage::{bit_flips, blocks, overwrites, recompressed, toc_fields, truncations};

/// Returns all damages that can be applied to an archive.
pub(crate) fn all(specimen: &Specimen) -> Vec<Damage> {
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
