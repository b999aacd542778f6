//! Damages of the header and the TOC.

use crate::damage::edit::Damage;
use crate::damage::layout::{Entry, INT};
use crate::damage::specimen::{Specimen, int};

/// Returns damages of the first bytes, which determine the format of all others.
pub(crate) fn header(specimen: &Specimen) -> Vec<Damage> {
    const PLACE: &str = "header";
    let (layout, bytes) = (&specimen.layout, specimen.bytes());
    let compression = layout.compression_at + if bytes[6] < 15 { 1 } else { 0 };
    let mut damages = vec![
        Damage::new("a letter of the magic word", PLACE).flip(2, 1),
        Damage::new("the format's major version", PLACE).flip(5, 2),
        Damage::new("an older version of the format", PLACE).replace(6..7, [bytes[6] - 1]),
        Damage::new("a newer version of the format", PLACE).replace(6..7, [bytes[6] + 1]),
        Damage::new("a much newer version of the format", PLACE).flip(6, 0x20),
        Damage::new("the format's revision", PLACE).flip(7, 1).unless_harmless(),
        Damage::new("the size of numbers", PLACE).flip(8, 1),
        Damage::new("numbers of eight bytes", PLACE).replace(8..9, [8]),
        Damage::new("the size of offsets", PLACE).flip(9, 1),
        Damage::new("offsets of four bytes", PLACE).replace(9..10, [4]),
        Damage::new("the format of a tar", PLACE).flip(10, 2),
        Damage::new("an unknown format", PLACE).flip(10, 4),
        Damage::new("an unknown compression", PLACE).replace(compression..compression + 1, [77]),
        Damage::new("the year of the dump", PLACE).flip(layout.year_at + 1, 1).unless_harmless(),
        Damage::new("a letter of the server's version", PLACE)
            .flip(layout.server_version.start, 1)
            .only_digest_detects_if(true),
        Damage::new("one entry more", PLACE)
            .replace(layout.count_at..layout.count_at + INT, int(layout.entries.len() + 1)),
        Damage::new("one entry less", PLACE)
            .replace(layout.count_at..layout.count_at + INT, int(layout.entries.len() - 1)),
        Damage::new("no entry", PLACE).zero(layout.count_at..layout.count_at + INT),
        Damage::new("fewer entries than none", PLACE).flip(layout.count_at, 1),
        Damage::new("two billion entries", PLACE).flip(layout.count_at + 4, 0x7f),
    ];
    let known = if bytes[6] < 15 { 0..2 } else { 0..4 };
    for other in known.filter(|other| (*other == 0) != (bytes[compression] == 0) || bytes[6] >= 15) {
        if other != bytes[compression] {
            damages.push(Damage::new("another compression", PLACE).replace(compression..compression + 1, [other]));
        }
    }
    damages
}

/// Returns damages of the TOC entry of a table's data.
pub(crate) fn data_entries(specimen: &Specimen) -> Vec<Damage> {
    const PLACE: &str = "TOC, data of a table";
    let entry = specimen.data_entry("share_2");
    let copy = |text: &str| find(specimen, entry, text);
    let unknown = usize::try_from(entry.id).unwrap() + 100_000;
    let id = entry.all.start..entry.all.start + INT;
    let has_offset = !specimen.has_no_offsets();
    let offset = Damage::new("a bit of the offset", PLACE).flip(entry.state_at + 1, 1);
    let mut damages = vec![
        Damage::new("another table in the COPY statement", PLACE).flip(copy("share_2") + 6, 1),
        Damage::new("no table in the COPY statement", PLACE).flip(copy("share_2"), 2),
        Damage::new("another column in the COPY statement", PLACE).flip(copy("holder"), 1).only_digest_detects_if(true),
        Damage::new("a comma in the COPY statement", PLACE).flip(copy(", "), 1),
        Damage::new("the word FROM in the COPY statement", PLACE).flip(copy("FROM"), 1),
        Damage::new("marked as without data (has_data)", PLACE).flip(entry.has_data_at + 1, 1),
        Damage::new("marked as without data (state)", PLACE).replace(entry.state_at..entry.state_at + 1, [3]),
        Damage::new("marked as without data (all)", PLACE)
            .flip(entry.has_data_at + 1, 1)
            .replace(entry.state_at..entry.state_at + 9, [3, 0, 0, 0, 0, 0, 0, 0, 0]),
        Damage::new("an unknown state", PLACE).flip(entry.state_at, 0x10),
        offset,
        Damage::new("an unused id", PLACE).replace(id.clone(), int(unknown)),
        Damage::new("another entry's id", PLACE).replace(id, specimen.copy_of(&specimen.table("account").id_range())),
        Damage::new("a letter of the table's name", PLACE).flip(entry.name.start, 2),
        Damage::new("another table's name", PLACE).flip(entry.name.end - 1, 1),
        Damage::new("a letter of its kind", PLACE).flip(entry.description.start, 1),
        Damage::new("its section", PLACE).flip(entry.section_at + 1, 0x10),
        Damage::new("it is removed", PLACE).remove(entry.all.clone()),
        Damage::new("it is duplicated", PLACE).insert(entry.all.end, specimen.copy_of(&entry.all)),
        uncounted(specimen, "it is removed, and the count with it", PLACE, entry),
    ];
    let state = if has_offset { "the offset is unknown" } else { "the offset is known" };
    damages.push(Damage::new(state, PLACE).flip(entry.state_at, 3));
    damages
}

/// Returns damages of other TOC entries. Few of their fields have a fixed form.
pub(crate) fn other_entries(specimen: &Specimen) -> Vec<Damage> {
    const PLACE: &str = "TOC, a table";
    let entry = specimen.entry("TABLE", "account");
    let definition = find(specimen, entry, "numeric(12");
    let encoding = specimen.entry("ENCODING", "ENCODING");
    let encoding = find(specimen, encoding, "client");
    vec![
        Damage::new("numeric(12) became numeric(13)", PLACE).flip(definition + 9, 1).only_digest_detects_if(true),
        Damage::new("a zero byte in its SQL", PLACE).replace(definition..definition + 1, [0]),
        Damage::new("SQL that is not UTF-8", PLACE).flip(definition, 0x80),
        Damage::new("the length of its SQL", PLACE).flip(entry.definition.start - 4, 1),
        Damage::new("a huge length of its SQL", PLACE).flip(entry.definition.start - 1, 0x7f),
        Damage::new("a negative length of its SQL", PLACE).flip(entry.definition.start - 5, 1),
        Damage::new("a letter of its name", PLACE).flip(entry.name.start, 4).only_digest_detects_if(true),
        Damage::new("a letter of its owner", PLACE).flip(entry.owner.start, 1).only_digest_detects_if(true),
        Damage::new("a letter of its kind", PLACE).flip(entry.description.start, 1).only_digest_detects_if(true),
        Damage::new("another section", PLACE).flip(entry.section_at + 1, 1).only_digest_detects_if(true),
        Damage::new("an unknown section", PLACE).flip(entry.section_at + 1, 8),
        Damage::new("marked as with data", PLACE).flip(entry.has_data_at + 1, 1),
        Damage::new("marked as with data (state)", PLACE).flip(entry.state_at, 1),
        Damage::new("it is removed", PLACE).remove(entry.all.clone()),
        Damage::new("it is duplicated", PLACE).insert(entry.all.end, specimen.copy_of(&entry.all)),
        uncounted(specimen, "it is removed, and the count with it", PLACE, entry)
            .only_digest_detects_if(specimen.has_no_offsets()),
        Damage::new("the word client_encoding", "TOC, encoding").flip(encoding, 1),
    ]
}

/// Removes an entry and decrements the count.
fn uncounted(specimen: &Specimen, what: &'static str, place: &'static str, entry: &Entry) -> Damage {
    let layout = &specimen.layout;
    let count = layout.count_at..layout.count_at + INT;
    Damage::new(what, place).remove(entry.all.clone()).replace(count, int(layout.entries.len() - 1))
}

/// Returns the offset of a text in the COPY statement of an entry, or else in its SQL.
fn find(specimen: &Specimen, entry: &Entry, text: &str) -> usize {
    let places = if entry.copy.is_empty() { &entry.definition } else { &entry.copy };
    let found = specimen.bytes()[places.clone()].windows(text.len()).position(|window| window == text.as_bytes());
    places.start + found.unwrap()
}
