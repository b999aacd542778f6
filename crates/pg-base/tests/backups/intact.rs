//! Intact backups of real servers of all releases are verified, and their facts are right.

use std::io::{BufReader, Read};

use longshore_pg_base::ErrorKind;
use longshore_pg_base::facts::{PageChecksums, Source, Wal};
use longshore_pg_base::manifest::Sha2;
use longshore_pg_base::verify::{self, Options};
use longshore_pg_wal::Lsn;
use longshore_testkit::cluster::Installation;

use crate::support;
use crate::support::real::{self, Unpacked};
use crate::support::{pages, tar, verify};

#[test]
fn backups_of_all_releases_are_verified() {
    for installation in Installation::all() {
        let source = real::Source::start(&installation, &[]);
        let backup = source.back_up(&["-X", "fetch"]);
        let archive = backup.merged();
        let mut paths = Vec::new();
        let facts = verify::read(&archive[..], &Options::default(), &mut |progress| paths.push(progress.path.clone()));
        let facts = facts.unwrap_or_else(|error| panic!("{}: {error}", installation.version));
        assert_eq!(facts.version, installation.major);
        let sql = |query: &str| source.cluster.psql("postgres", query);
        assert_eq!(facts.system_identifier.to_string(), sql("SELECT system_identifier FROM pg_control_system()"));
        let oid = sql("SELECT oid FROM pg_tablespace WHERE spcname = 'outer_space'");
        let place = source.tablespace.path().display();
        assert_eq!(facts.tablespaces[0].oid.to_string(), oid);
        assert!(facts.tablespaces[0].bytes > 100 * 5000, "{facts:?}");
        let map = String::from_utf8(facts.tablespace_map.clone().unwrap().to_bytes()).unwrap();
        assert_eq!(map, format!("{oid} {place}\n"));
        assert_eq!((facts.timeline, facts.wal, facts.source), (1, Wal::Included, Source::Primary));
        assert_eq!((facts.label.as_str(), facts.incremental_from), ("evening, full", None));
        assert!(Lsn(0) < facts.start_lsn && facts.start_lsn < facts.stop_lsn, "{facts:?}");
        assert!(facts.stop_lsn <= sql("SELECT pg_current_wal_lsn()").parse().unwrap());
        assert_eq!(facts.control.settings.max_wal_senders, 4);
        assert_eq!(facts.archive_bytes, archive.len() as u64);

        let members = tar::members(&archive);
        let files: Vec<&tar::Member> = members.iter().filter(|member| !member.is_directory()).collect();
        assert_eq!(facts.files, files.len() as u64 - 1);
        let bytes: usize = files.iter().map(|member| member.content.len()).sum();
        assert_eq!(facts.file_bytes, (bytes - backup.manifest.len()) as u64);
        assert_eq!(facts.files_without_checksum, 0);
        assert_eq!(paths.len(), members.len());
        let relation = sql("SELECT sum(pg_database_size(oid))::bigint / 8192 FROM pg_database").parse::<u64>().unwrap();
        let (pages, damaged, younger) = pages(&facts);
        assert!(pages > relation / 2 && pages < relation * 2, "{pages} of {relation}");
        assert_eq!((damaged, younger), (Vec::new(), 0));
        assert!(Unpacked::new(&installation, &members).is_intact_with(&members), "{}", installation.version);
    }
}

#[test]
fn pieces_of_any_size_give_the_same_facts() {
    let source = real::Source::start(&Installation::system(), &[]);
    let archive = source.back_up(&["-X", "fetch"]).merged();
    let expected = verify(&archive).unwrap();
    for piece_bytes in [511, 8191, 65_537] {
        let pieces = BufReader::with_capacity(piece_bytes, &archive[..]);
        assert_eq!(verify::read(pieces, &Options::default(), &mut |_| {}).unwrap(), expected);
    }
}

#[test]
fn backup_without_wal_is_verified() {
    let source = real::Source::start(&Installation::system(), &[]);
    let facts = verify(&source.back_up(&["-X", "none"]).merged()).unwrap();
    assert_eq!(facts.wal, Wal::NotIncluded);
}

#[test]
fn manifests_of_other_algorithms_are_verified() {
    let source = real::Source::start(&Installation::of_major(17), &[]);
    let back_up = |algorithm: &str| {
        let options = ["-X", "none", "--manifest-force-encode", "--manifest-checksums", algorithm];
        source.back_up(&options).merged()
    };
    let none = verify(&back_up("NONE")).unwrap();
    assert_eq!(none.files_without_checksum, none.files);
    for (algorithm, name) in
        [(Sha2::Sha224, "SHA224"), (Sha2::Sha256, "SHA256"), (Sha2::Sha384, "SHA384"), (Sha2::Sha512, "SHA512")]
    {
        let archive = back_up(name);
        let options = Options { sha2: Some(algorithm) };
        assert_eq!(verify::read(&archive[..], &options, &mut |_| {}).unwrap().files_without_checksum, 0);
        let error = verify(&archive).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains(name), "{error}");
        let mut members = tar::members(&archive);
        support::damage::content(&mut members, "base/1/1259")[100] ^= 1;
        let error = verify::read(&tar::archive(&members)[..], &options, &mut |_| {}).unwrap_err();
        assert_eq!((error.place.as_str(), error.message.contains(name)), ("base/1/1259", true), "{error}");
    }
}

#[test]
fn backup_of_a_standby_is_verified() {
    for installation in [Installation::system(), Installation::of_major(18)] {
        let source = real::Source::start(&installation, &["full_page_writes=on"]);
        // The standby needs another place for the tablespace.
        source.cluster.psql("postgres", "DROP TABLE stars; DROP TABLESPACE outer_space; CHECKPOINT;");
        let standby = source.cluster.start_standby(&["full_page_writes=on"]);
        let archive = real::back_up(&standby, &["-X", "fetch"]).merged();
        let facts = verify(&archive).unwrap();
        assert_eq!((facts.source, facts.wal), (Source::Standby, Wal::Included));
        let members = tar::members(&archive);
        assert!(members.iter().any(|member| member.path == "standby.signal"));
        assert!(Unpacked::new(&installation, &members).is_intact_with(&members));
    }
}

#[test]
fn incremental_backup_is_verified() {
    for installation in [Installation::of_major(17), Installation::of_major(18)] {
        let source = real::Source::start(&installation, &["summarize_wal=on"]);
        let full = source.back_up(&["-X", "none"]);
        source.cluster.psql("postgres", "UPDATE things SET md5 = 'new' WHERE n < 100; CHECKPOINT;");
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("manifest");
        std::fs::write(&manifest, &full.manifest).unwrap();
        let archive = source.back_up(&["-X", "none", "--incremental", manifest.to_str().unwrap()]).merged();
        let (full, facts) = (verify(&full.merged()).unwrap(), verify(&archive).unwrap());
        let from = facts.incremental_from.unwrap();
        assert_eq!((from.timeline, from.lsn), (full.timeline, full.start_lsn));
        assert!(facts.file_bytes < full.file_bytes / 2, "{facts:?}");
        let (count, damaged, _) = pages(&facts);
        assert!(count > 0);
        assert_eq!(damaged, []);

        // A block with another number has another checksum.
        let mut members = tar::members(&archive);
        let path = source.cluster.psql("postgres", "SELECT pg_relation_filepath('things')");
        let path = path.rsplit_once('/').map(|(folder, name)| format!("{folder}/INCREMENTAL.{name}")).unwrap();
        let file = support::damage::content(&mut members, &path);
        let block = u32::from_le_bytes(*file[12..].first_chunk().unwrap());
        file[12..16].copy_from_slice(&(block + 50_000).to_le_bytes());
        let refitted = support::refitted(&members);
        assert_eq!(pages(&verify(&tar::archive(&refitted)).unwrap()).1, [(path, block + 50_000)]);

        // Without its label's lines, the backup would be taken for a whole one.
        let label = support::damage::content(&mut members, "backup_label");
        label.truncate(label.windows(11).position(|part| part == b"INCREMENTAL").unwrap());
        let error = verify(&tar::archive(&support::refitted(&members))).unwrap_err();
        assert!(error.message.contains("backup_label names no earlier backup"), "{error}");
    }
}

#[test]
fn backup_of_a_cluster_without_checksums_is_verified() {
    let source = real::Source::start(&Installation::system(), &[]);
    let mut members = tar::members(&source.back_up(&["-X", "none"]).merged());
    // Like pg_checksums --disable, which sets the version of checksums in pg_control to 0.
    let control = support::damage::content(&mut members, "global/pg_control");
    control[252..256].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &control[..288]) as u32;
    control[288..292].copy_from_slice(&crc.to_le_bytes());
    let facts = verify(&tar::archive(&support::refitted(&members))).unwrap();
    assert_eq!(facts.page_checksums, PageChecksums::Off);
}

#[test]
fn damaged_page_of_a_cluster_is_recorded() {
    for installation in Installation::all() {
        let source = real::Source::start(&installation, &[]);
        let sql = |query: &str| source.cluster.psql("postgres", query);
        for table in ["things", "stars"] {
            let path = sql(&format!("SELECT pg_relation_filepath('{table}')"));
            let file = std::fs::File::options().write(true).open(source.cluster.data_dir().join(path)).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 3 * 8192 + 4000).unwrap();
        }
        let archive = source.back_up(&["-X", "none", "--no-verify-checksums"]).merged();
        let (_, damaged, younger) = pages(&verify(&archive).unwrap());
        let tablespace = sql("SELECT pg_relation_filepath('stars')");
        assert_eq!(damaged, [(tablespace, 3), (sql("SELECT pg_relation_filepath('things')"), 3)]);
        assert_eq!(younger, 0);
        let members = tar::members(&archive);
        assert!(Unpacked::new(&installation, &members).is_intact_with(&members), "the manifest knows no pages");
    }
}

#[test]
fn error_of_the_reader_passes() {
    let source = real::Source::start(&Installation::system(), &[]);
    let archive = source.back_up(&["-X", "none"]).merged();
    for end in [0, 512, 100_000, archive.len() - 512] {
        let broken = BufReader::new(archive[..end].chain(support::BrokenReader));
        let error = verify::read(broken, &Options::default(), &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Io, "{error}");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unplugged");
    }
}
