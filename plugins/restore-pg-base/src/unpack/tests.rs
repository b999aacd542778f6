use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use longshore_core::plugin::{Recovery, RecoveryEnd};
use rustix::fs::{Gid, Uid};
use rustix::process::geteuid;
use tar::EntryType;
use tempfile::TempDir;

use super::*;
use crate::abandoned::Abandoned;
use crate::archive::Tars;
use crate::owner::Owner;
use crate::tests::{LABEL, Tar, backup, changed_blocks};

/// Unpacks tars.
fn unpack(reader: &mut impl std::io::Read, plan: &Plan, abandoned: &Abandoned) -> Result<Unpacked> {
    super::unpack(Tars::new(reader), plan, abandoned)
}

/// Returns a plan with new folders.
fn plan(parent: &TempDir) -> Plan {
    let tablespaces = BTreeMap::from([(16398, TablespaceFolder::Outside(parent.path().join("stars")))]);
    let data = parent.path().join("data");
    Plan {
        data,
        tablespaces,
        owner: None,
        earlier: 0,
        existing: ExistingFiles::Refused,
        crash_consistent: false,
        recovery: None,
    }
}

fn complete(tar: Tar) -> Vec<u8> {
    tar.file("backup_manifest", b"{}").finish()
}

/// Unpacks a tar that must fail, and checks that nothing remains.
#[track_caller]
fn expect_failure(tar: &[u8]) -> Error {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(&parent);
    let error = unpack(&mut &tar[..], &plan, &Abandoned::default()).unwrap_err();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "{error}");
    fs::create_dir(&plan.data).unwrap();
    unpack(&mut &tar[..], &plan, &Abandoned::default()).unwrap_err();
    assert_eq!(fs::read_dir(&plan.data).unwrap().count(), 0, "an existing directory stays empty: {error}");
    error
}

#[test]
fn files_are_in_their_folders() {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(&parent);
    let unpacked = unpack(&mut &complete(backup())[..], &plan, &Abandoned::default()).unwrap();
    let read = |name: &str| fs::read_to_string(plan.data.join(name)).unwrap();
    assert_eq!(fs::read(plan.data.join("base/1/1259")).unwrap(), [7; 100_000]);
    assert_eq!(fs::read(plan.data.join("global/pg_control")).unwrap(), [3; 8192]);
    assert_eq!([read("backup_label"), read("backup_manifest")], [LABEL, "{}"]);
    let stars = parent.path().join("stars");
    assert_eq!(fs::read_link(plan.data.join("pg_tblspc/16398")).unwrap(), stars);
    assert_eq!(read("pg_tblspc/16398/PG_15_202209061/5"), "stars");
    assert_eq!(read("tablespace_map"), format!("16398 {}\n", stars.display()));
    assert!(read("postgresql.auto.conf").starts_with("archive_mode = 'on'\n"));
    assert!(read("postgresql.auto.conf").ends_with("\narchive_mode = 'off'\n"));
    assert!(unpacked.top_files.contains("standby.signal"));
    let mode = |name: &str| fs::metadata(plan.data.join(name)).unwrap().mode() & 0o777;
    assert_eq!(["", "base/1", "base/1/1259", "tablespace_map"].map(mode), [0o700, 0o700, 0o600, 0o600]);
}

#[test]
fn state_of_the_source_server_is_skipped() {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(&parent);
    unpack(&mut &complete(backup())[..], &plan, &Abandoned::default()).unwrap();
    for name in ["postmaster.pid", "postmaster.opts", "standby.signal", "recovery.signal"] {
        assert!(!plan.data.join(name).exists(), "{name}");
    }
    assert_eq!(fs::read_dir(plan.data.join("pg_replslot")).unwrap().count(), 0);
}

#[test]
fn wal_of_the_recovery_replaces_that_of_the_backup() {
    const SEGMENT: &str = "000000010000000000000002";
    let (parent, staged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let recovery = Recovery {
        settings: vec![("recovery_target_lsn".to_owned(), "0/2000130".to_owned())],
        folder: staged.path().to_owned(),
        files: vec![SEGMENT.to_owned()],
        end: RecoveryEnd::Target,
        reaches: None,
    };
    let plan = Plan { recovery: Some(recovery), ..plan(&parent) };
    let tar = complete(backup().file(&format!("pg_wal/{SEGMENT}"), b"a longer beginning"));
    unpack(&mut &tar[..], &plan, &Abandoned::default()).unwrap_err();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "a copy without its WAL is removed");
    fs::write(staged.path().join(SEGMENT), "all of it").unwrap();
    unpack(&mut &tar[..], &plan, &Abandoned::default()).unwrap();
    let read = |name: &str| fs::read_to_string(plan.data.join(name)).unwrap();
    assert_eq!([read(&format!("pg_wal/{SEGMENT}")), read("recovery.signal")], ["all of it", ""]);
    assert!(read("postgresql.auto.conf").ends_with("\nrecovery_target_lsn = '0/2000130'\n"));
}

#[test]
fn pg_control_is_written_last() {
    struct Watched<'a> {
        tar: &'a [u8],
        control: PathBuf,
        version: PathBuf,
        was_begun: bool,
    }
    impl Read for Watched<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            assert!(!self.control.exists(), "written before the end of the input");
            self.was_begun |= self.version.exists();
            self.tar.read(buffer)
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(&parent);
    let tar = complete(backup().file("pg_wal", &[0; 1 << 20]));
    let (control, version) = (plan.data.join("global/pg_control"), plan.data.join("PG_VERSION"));
    let mut watched = Watched { tar: &tar, control, version, was_begun: false };
    unpack(&mut watched, &plan, &Abandoned::default()).unwrap();
    assert!(watched.was_begun && watched.control.exists());
}

#[test]
fn dangerous_members_leave_nothing() {
    for (path, kind) in [
        ("../escaped", EntryType::Regular),
        ("/tmp/escaped", EntryType::Regular),
        ("base/link", EntryType::Symlink),
        ("base/link", EntryType::Link),
        ("base/device", EntryType::Char),
        ("base/fifo", EntryType::Fifo),
        ("pg_tblspc/16398", EntryType::Symlink),
    ] {
        let error = expect_failure(&complete(backup().member(path, kind, b"")));
        assert_eq!((error.kind(), error.subject()), (Kind::Corrupt, path));
    }
}

#[test]
fn repeated_members_leave_nothing() {
    for path in ["PG_VERSION", "base/1/1259", "tablespace_map", "pg_tblspc/16398/PG_15_202209061/5", "base", "base/1"] {
        let error = expect_failure(&complete(backup().file(path, b"16398 /x\n")));
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    }
    assert_eq!(expect_failure(&complete(backup().file(CONTROL, b"x"))).subject(), CONTROL);
    let error = expect_failure(&complete(backup().folder("PG_VERSION/").file("PG_VERSION/x", b"")));
    assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
}

#[test]
fn cut_backups_leave_nothing() {
    let whole = complete(backup());
    for length in [0, 100, 1024, 1100, 20_000, whole.len() - 3000, whole.len() - 2048] {
        assert_eq!(expect_failure(&whole[..length]).kind(), Kind::Corrupt, "{length}");
    }
    assert_eq!(expect_failure(&backup().finish()).subject(), "backup_manifest");
    let without_control = Tar::new().file("backup_label", LABEL.as_bytes()).file("backup_manifest", b"").finish();
    assert_eq!(expect_failure(&without_control).subject(), CONTROL);
}

#[test]
fn tablespace_without_a_folder_leaves_nothing() {
    let error = expect_failure(&complete(backup().file("pg_tblspc/16399/PG_15_202209061/1", b"")));
    assert_eq!((error.kind(), error.subject()), (Kind::Refused, "tablespace 16399"));
    assert!(error.remedy().unwrap().contains("--tablespace 16399="), "{error:?}");
}

#[test]
fn tablespace_in_place_stays_in_the_data_directory() {
    let parent = tempfile::tempdir().unwrap();
    let mut plan = plan(&parent);
    plan.tablespaces.insert(16399, TablespaceFolder::InPlace);
    unpack(&mut &complete(backup().file("pg_tblspc/16399/PG_15_202209061/1", b"x"))[..], &plan, &Abandoned::default())
        .unwrap();
    assert_eq!(fs::read(plan.data.join("pg_tblspc/16399/PG_15_202209061/1")).unwrap(), b"x");
    assert!(fs::symlink_metadata(plan.data.join("pg_tblspc/16399")).unwrap().is_dir());
}

#[test]
fn empty_tablespace_of_the_map_gets_a_folder() {
    let parent = tempfile::tempdir().unwrap();
    let mut plan = plan(&parent);
    plan.tablespaces.insert(16397, TablespaceFolder::Outside(parent.path().join("empty")));
    let tar =
        Tar::new().file("backup_label", LABEL.as_bytes()).file("tablespace_map", b"16397 /x\n").file(CONTROL, b"");
    unpack(&mut &complete(tar)[..], &plan, &Abandoned::default()).unwrap();
    assert_eq!(fs::read_link(plan.data.join("pg_tblspc/16397")).unwrap(), parent.path().join("empty"));
    assert!(parent.path().join("empty").is_dir());
}

#[test]
fn everything_belongs_to_the_owner() {
    if !geteuid().is_root() {
        // Only root changes owners: an owner leads to an error, which leaves nothing.
        let parent = tempfile::tempdir().unwrap();
        let owner = Owner { name: "root".to_owned(), uid: Uid::ROOT, gid: Gid::ROOT };
        unpack(&mut &complete(backup())[..], &Plan { owner: Some(owner), ..plan(&parent) }, &Abandoned::default())
            .unwrap_err();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let owner = Owner { name: "12345".to_owned(), uid: Uid::from_raw(12_345), gid: Gid::from_raw(12_346) };
    let plan = Plan { owner: Some(owner), ..plan(&parent) };
    // The owner of an existing folder is not changed.
    fs::create_dir(&plan.data).unwrap();
    let refused = unpack(&mut &complete(backup())[..], &plan, &Abandoned::default()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused, "{refused}");
    assert_eq!(fs::metadata(&plan.data).unwrap().uid(), 0);
    std::os::unix::fs::chown(&plan.data, Some(12_345), Some(12_346)).unwrap();
    unpack(&mut &complete(backup())[..], &plan, &Abandoned::default()).unwrap();
    let mut folders = vec![plan.data.clone(), parent.path().join("stars")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.chain([folder.clone()]) {
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (12_345, 12_346), "{}", path.display());
            count += 1;
            if metadata.is_dir() && path != folder {
                folders.push(path);
            }
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn failed_restore_returns_an_existing_folder() {
    let parent = tempfile::tempdir().unwrap();
    let owner = Owner { name: "12345".to_owned(), uid: Uid::from_raw(12_345), gid: Gid::from_raw(12_346) };
    let plan = Plan { owner: Some(owner), ..plan(&parent) };
    fs::create_dir(&plan.data).unwrap();
    unpack(&mut &backup().finish()[..], &plan, &Abandoned::default()).unwrap_err();
    assert_eq!(fs::metadata(&plan.data).unwrap().uid(), geteuid().as_raw());
}

/// Returns the label of an incremental backup that starts at this position after another one.
fn incremental_label(start: &str, from: &str) -> String {
    let label = LABEL.replace("0/2000028", start).replace("0/2000080", "0/9000080");
    format!("{label}INCREMENTAL FROM LSN: {from}\nINCREMENTAL FROM TLI: 1\n")
}

/// Returns an incremental backup that lacks a file and a tablespace of the full one.
fn incremental(label: &str) -> Tar {
    Tar::new()
        .folder("pg_tblspc/")
        .file("backup_label", label.as_bytes())
        .folder("base/")
        .folder("base/1/")
        .file("base/1/INCREMENTAL.1259", &changed_blocks(13, &[(12, b'z'), (0, b'x')]))
        .file("base/1/2600", b"new")
        .file("PG_VERSION", b"15\n")
        .file("postgresql.auto.conf", b"archive_mode = 'always'")
        .folder("global/")
        .file("global/pg_control", &[4; 8192])
}

fn chain_plan(parent: &TempDir, earlier: usize) -> Plan {
    Plan { tablespaces: BTreeMap::new(), earlier, ..plan(parent) }
}

#[test]
fn incremental_backups_change_the_files_of_the_full_one() {
    let parent = tempfile::tempdir().unwrap();
    let mut stream = complete(backup().file("base/1/1255", b"dropped").folder("base/7/").file("base/7/1", b"x"));
    stream.extend(complete(incremental(&incremental_label("0/2000128", "0/2000028"))));
    let last = Tar::new().folder("base/2/").file("base/1/INCREMENTAL.2600", &changed_blocks(1, &[(0, b'q')]));
    let last = complete(
        last.file("base/1/INCREMENTAL.1259", &changed_blocks(2, &[]))
            .file("backup_label", incremental_label("0/2000228", "0/2000128").as_bytes())
            .file("PG_VERSION", b"15\n")
            .file("global/pg_control", &[5; 8192]),
    );
    stream.extend(last);
    let plan = chain_plan(&parent, 2);
    let unpacked = unpack(&mut &stream[..], &plan, &Abandoned::default()).unwrap();
    let read = |name: &str| fs::read(plan.data.join(name)).unwrap();
    let table = read("base/1/1259");
    assert_eq!((table.len(), table[0], table[8192]), (2 * 8192, b'x', 7), "truncated, one block changed, one not");
    assert_eq!(read("base/1/2600"), [b'q'; 8192]);
    assert_eq!(read("global/pg_control"), [5; 8192]);
    assert_eq!(
        String::from_utf8(read("backup_label")).unwrap(),
        LABEL.replace("0/2000028", "0/2000228").replace("0/2000080", "0/9000080")
    );
    for gone in ["base/1/1255", "base/7", "backup_manifest", "tablespace_map", "pg_tblspc/16398"] {
        assert!(!plan.data.join(gone).exists(), "{gone}");
    }
    assert!(plan.data.join("base/2").is_dir() && unpacked.top_files.contains("backup_manifest"));
    assert!(String::from_utf8(read("postgresql.auto.conf")).unwrap().contains("archive_mode = 'off'"));
}

#[test]
fn broken_chains_leave_nothing() {
    let full = || complete(backup());
    let link = |start: &str, from: &str| complete(incremental(&incremental_label(start, from)));
    let good = link("0/2000128", "0/2000028");
    let without_file = Tar::new()
        .file("backup_label", incremental_label("0/2000128", "0/2000028").as_bytes())
        .file("base/1/INCREMENTAL.9", &changed_blocks(1, &[]))
        .file("global/pg_control", &[4; 8192]);
    for (earlier, tars, part) in [
        (1, vec![full(), link("0/2000128", "0/1000028")], "continues the backup that started at 0/1000028"),
        (1, vec![full(), complete(incremental(LABEL))], "at none, not at 0/2000028"),
        (0, vec![good.clone()], "at 0/2000028, not at none"),
        (1, vec![full()], "backup_label"),
        (1, vec![full(), good.clone(), good.clone()], "data after the end"),
        (2, vec![full(), good.clone(), good.clone()], "continues the backup that started at 0/2000028"),
        (1, vec![full(), complete(without_file)], "no such file"),
        (1, vec![full(), good[..good.len() / 2].to_vec()], ""),
    ] {
        let parent = tempfile::tempdir().unwrap();
        let plan = chain_plan(&parent, earlier);
        let error = unpack(&mut &tars.concat()[..], &plan, &Abandoned::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "{error}");
    }
}

#[test]
fn failed_replacement_leaves_no_cluster_to_start() {
    let parent = tempfile::tempdir().unwrap();
    let first = plan(&parent);
    unpack(&mut &complete(backup())[..], &first, &Abandoned::default()).unwrap();
    let again = Plan { existing: ExistingFiles::Replaced, ..plan(&parent) };
    let cut = &complete(backup())[..20_000];
    let error = unpack(&mut &cut[..], &again, &Abandoned::default()).unwrap_err();
    assert!(error.remedy().is_some_and(|hint| hint.contains("--delta")), "{error:?}");
    assert!(!again.data.join(CONTROL).exists() && again.data.join(REPLACED_CONTROL).exists());
    let mut stream = complete(backup().file("base/1/1255", b"dropped"));
    stream.extend(complete(incremental(&incremental_label("0/2000128", "0/2000028"))));
    let chain = Plan { earlier: 1, tablespaces: BTreeMap::new(), ..again };
    unpack(&mut &stream[..], &chain, &Abandoned::default()).unwrap();
    assert_eq!(fs::read(chain.data.join(CONTROL)).unwrap(), [4; 8192]);
    for name in ["base/1/1255", "global/pg_control.replaced", "pg_tblspc/16398", "backup_manifest"] {
        assert!(fs::symlink_metadata(chain.data.join(name)).is_err(), "{name}");
    }
}

#[test]
fn entries_may_change_their_type_within_a_chain() {
    let parent = tempfile::tempdir().unwrap();
    let mut stream = complete(backup().file("other", b"a file").folder("more/").file("more/inner", b"x"));
    let changed = incremental(&incremental_label("0/2000128", "0/2000028"));
    stream.extend(complete(changed.folder("other/").file("other/inner", b"y").file("more", b"a file")));
    let plan = chain_plan(&parent, 1);
    unpack(&mut &stream[..], &plan, &Abandoned::default()).unwrap();
    assert_eq!(fs::read(plan.data.join("other/inner")).unwrap(), b"y");
    assert_eq!(fs::read(plan.data.join("more")).unwrap(), b"a file");
}
