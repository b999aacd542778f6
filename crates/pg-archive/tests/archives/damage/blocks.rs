//! Chunks and blocks that are missing, duplicated or moved.

use crate::damage::edit::Damage;
use crate::damage::layout::INT;
use crate::damage::specimen::{Specimen, int};

/// Returns damages of chunks. Each chunk of uncompressed data is one row.
pub(crate) fn chunks(specimen: &Specimen) -> Vec<Damage> {
    let table = specimen.chunked();
    let chunks = &table.items[0].chunks;
    // Without offsets, a missing row is not detectable, nor is a missing zstd block of long rows
    // that zstd cannot compress.
    let rows = specimen.has_no_offsets() && (specimen.is_plain() || specimen.archive.compression == "zstd");
    let mut damages = Vec::new();
    for (place, chunk) in table.chunks() {
        let copy = specimen.copy_of(&chunk.all);
        let is_row = rows && (place == "middle" || specimen.is_plain() && place == "first");
        let removed = Damage::new("a chunk removed", place).remove(chunk.all.clone());
        damages.push(removed.only_digest_detects_if(is_row));
        let twice = Damage::new("a chunk twice", place).insert(chunk.all.end, copy);
        damages.push(twice.only_digest_detects_if(is_row));
    }
    let [one, other] = [chunks.len() / 2 - 1, chunks.len() / 2].map(|nth| chunks[nth].all.clone());
    let swapped = [specimen.copy_of(&other), specimen.copy_of(&one)].concat();
    let swapped = Damage::new("two chunks exchanged", "middle").replace(one.start..other.end, swapped);
    damages.push(swapped.only_digest_detects_if(specimen.is_plain()));
    let at = table.middle().all.start;
    damages.push(Damage::new("a zero that ends it early", "middle").insert(at, int(0)));
    damages.push(Damage::new("the rest of it removed", "middle").remove(at..table.items[0].terminator().start));
    damages
}

/// Returns damages of blocks. Each block is a table or a list of large objects.
pub(crate) fn blocks(specimen: &Specimen) -> Vec<Damage> {
    let mut damages = Vec::new();
    for (place, block) in specimen.blocks() {
        let copy = specimen.copy_of(&block.all);
        damages.push(Damage::new("a block removed", place).remove(block.all.clone()));
        damages.push(Damage::new("a block twice", place).insert(block.all.end, copy));
        let id = int(usize::try_from(block.id).unwrap() + 100_000);
        damages.push(Damage::new("a block with an unused id", place).replace(block.id_range(), id));
        damages.push(Damage::new("a block that is empty", place).replace(block.content(), int(0)));
    }
    let [one, other] = ["share_2", "share_3"].map(|name| specimen.table(name));
    let [first, second] = [one, other].map(|block| specimen.copy_of(&block.all));
    let swapped = Damage::new("two blocks exchanged", "tables of one shape");
    damages.push(swapped.replace(one.all.start..other.all.end, [second, first].concat()));
    let id = specimen.copy_of(&other.id_range());
    damages.push(Damage::new("a block of another table's id", "tables of one shape").replace(one.id_range(), id));
    let [first, second] = [one, other].map(|block| specimen.copy_of(&block.content()));
    let exchanged = Damage::new("the data of two tables exchanged", "tables of one shape");
    let exchanged = exchanged.replace(one.content(), second).replace(other.content(), first);
    // If both have the same size, the following blocks do not move.
    let same_place = specimen.has_no_offsets() || one.all.len() == other.all.len();
    damages.push(exchanged.only_digest_detects_if(same_place));
    let [one, other] = ["account", "document"].map(|name| specimen.table(name));
    let [first, second] = [one, other].map(|block| specimen.copy_of(&block.content()));
    let exchanged = Damage::new("the data of two tables exchanged", "tables of other shapes");
    damages.push(exchanged.replace(one.content(), second).replace(other.content(), first));
    let (empty, full) = (specimen.table("empty").content(), specimen.table("share_2").content());
    let emptied = Damage::new("the data of a table that is empty", "tables of one shape");
    let emptied = emptied.replace(full, specimen.copy_of(&empty));
    damages.push(emptied.only_digest_detects_if(specimen.has_no_offsets()));
    damages
}

/// Returns damages of large objects, which the TOC lists.
pub(crate) fn large_objects(specimen: &Specimen) -> Vec<Damage> {
    let (list, object) = specimen.large_object();
    let others: Vec<_> = list.items.iter().filter(|item| item.all != object.all).collect();
    let oid = |at: usize| at..at + INT;
    let (at, copy) = (object.all.start, specimen.copy_of(&object.all));
    let another_oid = specimen.copy_of(&oid(others[0].all.start));
    let (one, other) = (others[0].all.start + INT..others[0].all.end, others[1].all.start + INT..others[1].all.end);
    let [first, second] = [&one, &other].map(|range| specimen.copy_of(range));
    // Only the offsets of later blocks reveal a changed length.
    let hidden = specimen.has_no_offsets() || specimen.is_last(list);
    const PLACE: &str = "large object";
    let chunk = &object.chunks[0];
    // A chunk is a run of bytes, or a whole frame.
    let hidden_chunk = hidden && (specimen.is_plain() || specimen.archive.compression == "zstd");
    let mut damages = vec![
        Damage::new("another OID", PLACE).flip(at + 4, 1),
        Damage::new("the OID of another one", PLACE).replace(oid(at), another_oid),
        Damage::new("a zero for its OID", PLACE).zero(oid(at)),
        Damage::new("it is removed", PLACE).remove(object.all.clone()),
        Damage::new("it is duplicated", PLACE).insert(object.all.end, copy),
        Damage::new("the list ends before it", PLACE).remove(at..list.all.end - INT),
        Damage::new("the contents of two exchanged", PLACE)
            .replace(one, second)
            .replace(other, first)
            .only_digest_detects_if(true),
        Damage::new("a chunk of it removed", PLACE).remove(chunk.all.clone()).only_digest_detects_if(hidden_chunk),
        Damage::new("a chunk of it twice", PLACE)
            .insert(chunk.all.end, specimen.copy_of(&chunk.all))
            .only_digest_detects_if(hidden_chunk),
    ];
    if specimen.is_plain() {
        let emptied = Damage::new("all chunks of it removed", PLACE).remove(at + INT..object.terminator().start);
        damages.push(emptied.only_digest_detects_if(hidden));
    }
    damages
}
