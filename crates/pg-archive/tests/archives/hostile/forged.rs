//! Archives that pg_dump never writes: their beginnings, handmade, in version 1.16.

/// Returns an Int.
pub(crate) fn int(value: i32) -> Vec<u8> {
    [&[u8::from(value < 0)][..], &value.unsigned_abs().to_le_bytes()].concat()
}

/// Returns a string.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    [&int(i32::try_from(text.as_ref().len()).unwrap())[..], text.as_ref()].concat()
}

/// Returns NULL.
pub(crate) fn null() -> Vec<u8> {
    int(-1)
}

/// Returns the bytes before the name of the database.
pub(crate) fn magic(compression: u8) -> Vec<u8> {
    let times = [0, 15, 9, 7, 5, 126, 0].map(int).concat();
    [b"PGDMP\x01\x10\x00\x04\x08\x01", &[compression][..], &times].concat()
}

/// Returns the header and the number of entries.
pub(crate) fn header(compression: u8, entries: i32) -> Vec<u8> {
    [magic(compression), text("forged"), text("17.0"), text("17.0"), int(entries)].concat()
}

/// Returns an entry of the TOC up to its SQL, which [`rest`] follows.
pub(crate) fn beginning(id: i32, has_data: bool, name: &str, description: &str) -> Vec<u8> {
    let has_data = int(i32::from(has_data));
    [int(id), has_data, text("0"), text("0"), text(name), text(description), int(2)].concat()
}

/// Returns the part of an entry from its DROP statement to its dependencies, both exclusive.
pub(crate) fn rest(copy: Option<&str>) -> Vec<u8> {
    let copy = copy.map_or_else(null, text);
    [copy, text("public"), null(), null(), int(0), text("owner"), text("false")].concat()
}

/// Returns the end of an entry.
pub(crate) fn end(has_data: bool) -> Vec<u8> {
    [null(), vec![if has_data { 1 } else { 3 }], vec![0; 8]].concat()
}

/// Returns an entry without data.
pub(crate) fn entry(id: i32, name: &str, description: &str, sql: &[u8]) -> Vec<u8> {
    [beginning(id, false, name, description), text(sql), null(), rest(None), end(false)].concat()
}

/// Returns the entry of a table's data.
pub(crate) fn data(id: i32, name: &str, copy: &str) -> Vec<u8> {
    [beginning(id, true, name, "TABLE DATA"), null(), null(), rest(Some(copy)), end(true)].concat()
}

/// Returns an archive of one table with one column, up to the first chunk of its data.
pub(crate) fn one_table(compression: u8) -> Vec<u8> {
    let encoding = entry(1, "ENCODING", "ENCODING", b"SET client_encoding = 'UTF8';\n");
    let table = data(2, "t", "COPY public.t (a) FROM stdin;\n");
    [header(compression, 2), encoding, table, vec![1], int(2)].concat()
}

/// Returns a chunk.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    text(bytes)
}
