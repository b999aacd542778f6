//! Malicious and random archives: no panics, and bounded memory and time.
#![allow(clippy::print_stdout, reason = "the output identifies the archive that killed the process")]

mod excessive_requests;
mod forged;
mod limited_process;
mod test_readers;

use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::any;

use test_readers::SingleByteReader;

use crate::support::mutation::{any_mutation, mutated, runner};
use crate::support::{self, Archive};

#[test]
fn arbitrary_bytes_never_panic() {
    runner(2000)
        .run(&vec(any::<u8>(), 0..3000), |bytes| {
            // The result is not checked, since the bytes may form an empty archive.
            drop(support::read(&bytes));
            drop(support::read(&[&b"--\n"[..], &bytes].concat()));
            drop(support::read(&[&b"PGDMP"[..], &bytes].concat()));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn arbitrary_changes_of_archives_never_panic() {
    let archives = support::archives_of_two_releases();
    arbitrary_bytes_after_archive_head_fail(&archives);
    mutated_archives_never_panic(&archives);
}

fn arbitrary_bytes_after_archive_head_fail(archives: &[Archive]) {
    runner(1000)
        .run(&(0..archives.len(), 0..20_000_usize, vec(any::<u8>(), 1..3000)), |(archive, length, bytes)| {
            let beginning = &archives[archive].bytes[..length];
            assert!(support::read(&[beginning, &bytes].concat()).is_err());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn mutated_archives_never_panic(archives: &[Archive]) {
    runner(300)
        .run(&(0..archives.len(), vec(any_mutation(), 1..6)), |(archive, mutations)| {
            drop(support::read(&mutated(&archives[archive].bytes, &mutations)));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn excessive_requests_take_little_memory() {
    limited_process::read_all("hostile::excessive_requests_take_little_memory", 512, || {
        [excessive_requests::lengths(), excessive_requests::payloads(), excessive_requests::numbers()]
            .into_iter()
            .flatten()
            .collect()
    });
}

#[test]
fn endless_names_are_rejected() {
    limited_process::read_all("hostile::endless_names_are_rejected", 2560, excessive_requests::names);
}

#[test]
fn endless_entries_are_rejected() {
    limited_process::read_all("hostile::endless_entries_are_rejected", 2560, excessive_requests::entries);
}

/// Reads five megabytes of rows, compressed or not, byte by byte: no byte is requested repeatedly.
#[test]
fn single_byte_reads_take_linear_time() {
    let rows: Vec<u8> =
        (0..500_000).flat_map(|row: u32| format!("{:08x}\n", row.wrapping_mul(0x9e37_79b9)).into_bytes()).collect();
    let rows = [&rows[..], b"\\.\n\n\n"].concat();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    zlib.write_all(&rows).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&rows).unwrap();
    let zstd = zstd::encode_all(&rows[..], 1).unwrap();
    for (compression, data) in [rows.clone(), zlib.finish().unwrap(), lz4.finish().unwrap(), zstd].iter().enumerate() {
        let compression = u8::try_from(compression).unwrap();
        let chunks: Vec<u8> = data.chunks(1000).flat_map(forged::chunk).collect();
        // Several zstd chunks form one frame here, as pg_dump writes them.
        let archive = [forged::one_table(compression), chunks, forged::int(0)].concat();
        let mut requests = 0;
        let facts =
            longshore_pg_archive::read(SingleByteReader { bytes: &archive, requests: &mut requests }, &mut |_| {})
                .unwrap();
        assert_eq!(facts.tables[0].rows, Some(500_000));
        println!("compression {compression}: {} bytes, asked for {requests} times", archive.len());
        assert!(
            requests < 10 * archive.len() as u64,
            "compression {compression}: {requests} times for {} bytes",
            archive.len()
        );
    }
}
