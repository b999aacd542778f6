//! The parser of `backup_manifest` reads the server's form and refuses all others.

use longshore_pg_base::manifest::{self, Checksum, Sha2};
use longshore_pg_base::{Error, ErrorKind};
use longshore_pg_wal::Lsn;
use sha2::{Digest, Sha256};

use crate::support;
use crate::support::manifest::{finished, of_files};

type Entries = Vec<(Vec<u8>, u64, Checksum)>;

fn read(bytes: &[u8]) -> Result<(manifest::Manifest, Entries), Error> {
    let mut entries = Vec::new();
    let manifest = manifest::read(bytes, &mut |entry| {
        entries.push((entry.path.to_vec(), entry.size_bytes, entry.checksum));
        Ok(())
    })?;
    Ok((manifest, entries))
}

const RANGE: &str = r#"{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000120" }"#;

/// A manifest of version 1 with these entries and ranges.
fn with(entries: &str, ranges: &str) -> Vec<u8> {
    finished(&format!(
        "{{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [{entries}],\n\"WAL-Ranges\": [\n{ranges}\n],\n"
    ))
}

#[track_caller]
fn assert_damaged(bytes: &[u8], message: &str) {
    let error = read(bytes).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
    assert!(error.message.contains(message), "{error}");
    assert_eq!(error.place, "backup_manifest");
}

#[test]
fn manifest_of_version_2_is_read() {
    let text = "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 18446744073709551615,\n\"Files\": [\n\
         { \"Path\": \"backup_label\", \"Size\": 225, \"Last-Modified\": \"2026-11-29 01:02:03 GMT\", \
         \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"0badcafe\" },\n\
         { \"Encoded-Path\": \"62617365ff\", \"Size\": 0, \"Last-Modified\": \"2026-11-29 01:02:03 GMT\" }\n],\n\
         \"WAL-Ranges\": [\n{ \"Timeline\": 3, \"Start-LSN\": \"1/28\", \"End-LSN\": \"1/A0\" },\n\
         { \"Timeline\": 1, \"Start-LSN\": \"0/FF000028\", \"End-LSN\": \"1/28\" }\n],\n";
    let (manifest, entries) = read(&finished(text)).unwrap();
    assert_eq!((manifest.version, manifest.system_identifier), (2, Some(u64::MAX)));
    assert_eq!((manifest.files, manifest.file_bytes), (2, 225));
    assert_eq!(manifest.start(), Some((1, Lsn(0xFF00_0028))));
    assert_eq!(manifest.stop(), Some((3, Lsn(0x1_0000_00A0))));
    assert_eq!(manifest.sha256, <[u8; 32]>::from(Sha256::digest(text)));
    let expected =
        [(b"backup_label".to_vec(), 225, Checksum::Crc32c(0xFECA_AD0B)), (b"base\xFF".to_vec(), 0, Checksum::None)];
    assert_eq!(entries, expected);
}

#[test]
fn checksums_of_all_algorithms_are_read() {
    for (algorithm, name) in
        [(Sha2::Sha224, "SHA224"), (Sha2::Sha256, "SHA256"), (Sha2::Sha384, "SHA384"), (Sha2::Sha512, "sha512")]
    {
        let digits = "aB".repeat(algorithm.digest_bytes());
        let entry = format!(r#"{{ "Path": "a", "Size": 1, "Checksum-Algorithm": "{name}", "Checksum": "{digits}" }}"#);
        let (_, entries) = read(&with(&entry, RANGE)).unwrap();
        assert_eq!(entries[0].2, Checksum::Sha2(algorithm, vec![0xAB; algorithm.digest_bytes()]));
        let short = entry.replacen("aB", "", 1);
        assert_damaged(&with(&short, RANGE), &format!("is no {name}"));
    }
    let none = r#"{ "Path": "a", "Size": 1, "Checksum-Algorithm": "NONE" }"#;
    assert_eq!(read(&with(none, RANGE)).unwrap().1[0].2, Checksum::None);
}

#[test]
fn escapes_in_paths_are_decoded() {
    let entry = r#"{ "Path": "a\"\\\u0001\té€", "Size": 1 }"#;
    assert_eq!(read(&with(entry, RANGE)).unwrap().1[0].0, "a\"\\\u{1}\té€".as_bytes());
}

#[test]
fn unknown_versions_and_algorithms_are_unsupported() {
    let version = finished("{ \"PostgreSQL-Backup-Manifest-Version\": 3,\n\"Files\": [],\n");
    let algorithm = r#"{ "Path": "a", "Size": 1, "Checksum-Algorithm": "BLAKE3", "Checksum": "00" }"#;
    for (bytes, name) in [(version, "version 3"), (with(algorithm, RANGE), "BLAKE3")] {
        let error = read(&bytes).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        assert!(error.message.contains(name), "{error}");
    }
}

#[test]
fn wrong_entries_are_damaged() {
    for (entry, message) in [
        (r#"{ "Size": 1 }"#, "without a path"),
        (r#"{ "Path": "a" }"#, "missing field `Size`"),
        (r#"{ "Path": "a", "Encoded-Path": "61", "Size": 1 }"#, "two paths"),
        (r#"{ "Path": "a", "Size": 1, "Size": 1 }"#, "duplicate field `Size`"),
        (r#"{ "Path": "a", "Size": 1, "Mode": 1 }"#, "unknown field `Mode`"),
        (r#"{ "Path": "a", "Size": -1 }"#, "invalid value"),
        (r#"{ "Path": "a", "Size": 1.5 }"#, "invalid type"),
        (r#"{ "Path": "a", "Size": 1, "Checksum": "00000000" }"#, "checksum without an algorithm"),
        (r#"{ "Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C" }"#, "algorithm without a checksum"),
        (
            r#"{ "Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "0000000" }"#,
            "`0000000` is no CRC32C",
        ),
        (r#"{ "Encoded-Path": "6g", "Size": 1 }"#, "not hexadecimal"),
        (r#"{ "Encoded-Path": "616", "Size": 1 }"#, "not hexadecimal"),
        (r#"{ "Path": "/etc/passwd", "Size": 1 }"#, "absolute path"),
        (r#"{ "Path": "base/../../x", "Size": 1 }"#, "part `..`"),
        (r#"{ "Encoded-Path": "6100", "Size": 1 }"#, "zero byte"),
        (r#"{ "Path": "a", "Size": 1 }, { "Encoded-Path": "61", "Size": 1 }"#, "second entry of `a`"),
        (
            r#"{ "Path": "a", "Size": 18446744073709551615 }, { "Path": "b", "Size": 1 }"#,
            "sizes of more than 2^64 bytes",
        ),
        (r#"[]"#, "invalid"),
    ] {
        assert_damaged(&with(entry, RANGE), message);
    }
}

#[test]
fn wrong_ranges_are_damaged() {
    let range = |timeline: u32, start: &str, end: &str| {
        format!(r#"{{ "Timeline": {timeline}, "Start-LSN": "{start}", "End-LSN": "{end}" }}"#)
    };
    for (ranges, message) in [
        (String::new(), "no range"),
        (range(0, "0/1", "0/2"), "timeline 0"),
        (range(1, "0/3", "0/2"), "from 0/3 to 0/2"),
        (range(1, "0/x", "0/2"), "0/x"),
        (format!("{},\n{}", range(2, "0/5", "0/9"), range(1, "0/1", "0/4")), "ends at 0/4"),
        (format!("{},\n{}", range(1, "0/5", "0/9"), range(2, "0/1", "0/5")), "timeline 2 ends"),
        (r#"{ "Timeline": 1, "Start-LSN": "0/1" }"#.to_owned(), "missing field `End-LSN`"),
        (vec![range(1, "0/1", "0/2"); 1001].join(",\n"), "more than 1000 ranges"),
    ] {
        assert_damaged(&with("", &ranges), message);
    }
}

#[test]
fn missing_and_repeated_fields_are_damaged() {
    let version = "\"PostgreSQL-Backup-Manifest-Version\": ";
    let ranges = format!("\"WAL-Ranges\": [\n{RANGE}\n],\n");
    for (text, message) in [
        (format!("{{ \"Files\": [],\n{ranges}"), "not the first field"),
        (format!("{{ {version}1,\n{version}1,\n\"Files\": [],\n{ranges}"), "not the only"),
        (format!("{{ {version}2,\n\"Files\": [],\n{ranges}"), "no field `System-Identifier`"),
        (format!("{{ {version}1,\n{ranges}"), "no field `Files`"),
        (format!("{{ {version}1,\n\"Files\": [],\n"), "no field `WAL-Ranges`"),
        (format!("{{ {version}1,\n\"Files\": [],\n\"Files\": [],\n{ranges}"), "duplicate field `Files`"),
        (format!("{{ {version}1,\n\"Files\": [],\n{ranges}\"Other\": 1,\n"), "unknown variant `Other`"),
        (format!("{{ {version}1,\n\"Files\": [],\n{ranges}\"Manifest-Checksum\": \"00\",\n"), "not the last field"),
    ] {
        assert_damaged(&finished(&text), message);
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let intact = of_files(1, &[("backup_label", &b"label"[..]), ("base/1/2", &b"content"[..])], RANGE);
    read(&intact).unwrap();
    for at in 0..intact.len() {
        for bit in 0..8 {
            let mut damaged = intact.clone();
            damaged[at] ^= 1 << bit;
            // The digits of the checksum mean the same in either case.
            if damaged.eq_ignore_ascii_case(&intact) && at + 68 > intact.len() {
                continue;
            }
            assert!(read(&damaged).is_err(), "bit {bit} of byte {at}: {}", String::from_utf8_lossy(&damaged));
        }
    }
}

#[test]
fn every_cut_is_found() {
    let intact = of_files(1, &[("backup_label", &b"label"[..])], RANGE);
    for end in 0..intact.len() {
        assert_eq!(read(&intact[..end]).unwrap_err().kind, ErrorKind::Damaged, "cut at {end}");
    }
    assert_damaged(&[&intact[..], b"x"].concat(), "trailing characters");
    // A line after the checksum's would be the last one, which the checksum does not cover.
    assert_damaged(&[&intact[..], b"\n"].concat(), "Manifest-Checksum");
}

#[test]
fn overlong_entry_is_refused_in_bounded_memory() {
    let endless = std::io::Read::chain(
        &b"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{ \"Path\": \""[..],
        std::io::repeat(b'a'),
    );
    let error = manifest::read(endless, &mut |_| Ok(())).unwrap_err();
    assert!(error.message.contains("entry of more than 65536 bytes"), "{error}");
    assert!(error.offset < 1 << 20, "{error}");
}

#[test]
fn errors_of_the_reader_and_the_caller_pass() {
    let broken = std::io::Read::chain(&b"{ \"Postgre"[..], support::BrokenReader);
    let error = manifest::read(broken, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unplugged");
}
