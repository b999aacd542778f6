//! Damaged backups of real servers: this crate and `pg_verifybackup` of the same release agree.

use longshore_pg_base::ErrorKind;
use longshore_testkit::cluster::Installation;

use crate::support;
use crate::support::damage::{self, Verdict};
use crate::support::real::{self, Unpacked};
use crate::support::{pages, tar, verify};

fn pg_verifybackup_agrees(installation: &Installation) {
    let source = real::Source::start(installation, &[]);
    let members = tar::members(&source.back_up(&["-X", "none"]).merged());
    let relation = source.cluster.psql("postgres", "SELECT pg_relation_filepath('stars')");
    let unpacked = Unpacked::new(installation, &members);
    for case in damage::of_all_kinds(&relation) {
        let damaged = case.of(&members);
        let ours = verify(&tar::archive(&damaged));
        let context = format!("{}, {}: {ours:?}", installation.version, case.name);
        if let Err(error) = &ours {
            assert!(matches!(error.kind, ErrorKind::Damaged | ErrorKind::Unsupported), "{context}");
        }
        assert_eq!(ours.is_ok(), case.verdict == Verdict::Intact, "{context}");
        let theirs = unpacked.is_intact_with(&damaged);
        assert_eq!(theirs, case.verdict != Verdict::Damaged, "pg_verifybackup of {context}");
    }
}

#[test]
fn pg_verifybackup_of_the_newest_release_agrees() {
    pg_verifybackup_agrees(&Installation::of_major(18));
}

mod slow {
    use super::*;

    #[test]
    fn pg_verifybackup_of_each_release_agrees() {
        Installation::all().iter().for_each(pg_verifybackup_agrees);
    }
}

#[test]
fn damage_under_a_fitting_manifest_is_found_in_pages() {
    let installation = Installation::of_major(18);
    let source = real::Source::start(&installation, &[]);
    let mut members = tar::members(&source.back_up(&["-X", "none"]).merged());
    let relation = source.cluster.psql("postgres", "SELECT pg_relation_filepath('stars')");
    damage::content(&mut members, &relation)[2 * 8192 + 77] ^= 4;
    let refitted = support::refitted(&members);
    assert_eq!(pages(&verify(&tar::archive(&refitted)).unwrap()).1, [(relation, 2)]);
    assert!(Unpacked::new(&installation, &refitted).is_intact_with(&refitted));
}

#[test]
fn contradictions_under_a_fitting_manifest_are_found() {
    let source = real::Source::start(&Installation::of_major(17), &[]);
    let members = tar::members(&source.back_up(&["-X", "none"]).merged());
    let find = |place: &str, path: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut members = members.clone();
        change(damage::content(&mut members, path));
        let error = verify(&tar::archive(&support::refitted(&members))).unwrap_err();
        assert_eq!(error.place, place, "{error}");
        error
    };
    let edit = |from: &'static str, to: &'static str| {
        move |content: &mut Vec<u8>| {
            *content = String::from_utf8(content.clone()).unwrap().replace(from, to).into_bytes()
        }
    };
    find("global/pg_control", "global/pg_control", &|control| control[0] ^= 1);
    find("global/pg_control", "global/pg_control", &|control| control.truncate(8191));
    find("global/pg_control", "PG_VERSION", &edit("17", "16"));
    assert_eq!(find("PG_VERSION", "PG_VERSION", &edit("17", "14")).kind, ErrorKind::Unsupported);
    find("PG_VERSION", "PG_VERSION", &edit("17", "x"));
    find("backup_label", "backup_label", &edit("streamed", "dreamed"));
    find("backup_manifest", "backup_manifest", &edit("\"Timeline\": 1", "\"Timeline\": 2"));
    find("global/pg_control", "backup_manifest", &edit("System-Identifier\": ", "System-Identifier\": 1"));
    find("pg_tblspc/1", "tablespace_map", &|map| map.extend_from_slice(b"1 /nowhere\n"));
    for path in ["PG_VERSION", "backup_label", "global/pg_control"] {
        let mut members = members.clone();
        members.retain(|member| member.path != path);
        let manifest = damage::content(&mut members, "backup_manifest");
        let line =
            |lines: &str| lines.lines().find(|line| line.contains(&format!("\"{path}\""))).unwrap().to_owned() + "\n";
        let lines = support::manifest::lines_before_checksum(manifest);
        *manifest = support::manifest::finished(&lines.replace(&line(&lines), "").replace("},\n]", "}\n]"));
        let error = verify(&tar::archive(&members)).unwrap_err();
        assert_eq!(error.place, path, "{error}");
    }
}

#[test]
fn cut_archives_are_found() {
    let source = real::Source::start(&Installation::system(), &[]);
    let archive = source.back_up(&["-X", "none"]).merged();
    let last = archive.len() - 2000..archive.len();
    let ends = (0..archive.len()).step_by(987_651).chain(last.step_by(97));
    for end in ends {
        let error = verify(&archive[..end]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Damaged, "cut at {end}: {error}");
    }
}

#[test]
fn foreign_members_are_damage() {
    let source = real::Source::start(&Installation::system(), &[]);
    let archive = source.back_up(&["-X", "none"]).merged();
    verify(&archive).unwrap();
    for (path, kind) in [
        ("base/1/link", b'2'),
        ("base/1/hard", b'1'),
        ("base/1/device", b'3'),
        ("base/1/fifo", b'6'),
        ("/etc/passwd", b'0'),
        ("base/../../x", b'0'),
        ("base/1/long", b'L'),
        ("base/1/pax", b'x'),
        ("backup_manifest/", b'5'),
    ] {
        let foreign = [&tar::header(path, kind, 0)[..], &archive].concat();
        let error = verify(&foreign).unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Damaged | ErrorKind::Unsupported), "{path}: {error}");
    }
}
