//! Damage of a backup: changes of the members of its archive.

use super::manifest::{finished, lines_before_checksum};
use super::tar::Member;

/// A change of the members of an archive.
type Change = Box<dyn Fn(&mut Vec<Member>)>;

/// Damage, with the verdicts about it.
pub(crate) struct Damage {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    change: Change,
}

impl Damage {
    /// Returns the members with the damage.
    pub(crate) fn of(&self, intact: &[Member]) -> Vec<Member> {
        let mut members = intact.to_vec();
        (self.change)(&mut members);
        members
    }
}

/// The expected verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both verifiers find nothing wrong.
    Intact,
    /// Both verifiers find damage.
    Damaged,
    /// This crate finds damage that `pg_verifybackup` does not look for.
    DamagedForUs,
}

/// Returns damage of all kinds to a backup without WAL. `relation` is the path of a table in a
/// tablespace with several pages.
pub(crate) fn of_all_kinds(relation: &str) -> Vec<Damage> {
    use Verdict::{Damaged, DamagedForUs, Intact};
    let [bit, cut, longer] = [relation; 3].map(str::to_owned);
    vec![
        damage("nothing changed", Intact, |_| {}),
        damage("an empty directory is missing", Intact, |members| {
            members.retain(|member| member.path != "pg_notify/");
        }),
        damage("WAL that nothing needs was added", Intact, |members| insert(members, "pg_wal/archive_status/x", b"")),
        damage("standby.signal was added", Intact, |members| insert(members, "standby.signal", b"")),
        damage("a bit of a file flipped", Damaged, |members| content(members, "base/1/pg_filenode.map")[100] ^= 1),
        damage("a bit of a page flipped", Damaged, move |members| content(members, &bit)[8192 + 5000] ^= 16),
        damage("a file is missing", Damaged, |members| members.retain(|member| member.path != "base/1/1259")),
        damage("a file was added", Damaged, |members| insert(members, "base/1/99999", b"")),
        damage("a file was renamed", Damaged, |members| {
            let member = members.iter_mut().find(|member| member.path == "base/1/1259").unwrap();
            member.path = "base/1/1258".to_owned();
        }),
        damage("two files of one size were swapped", Damaged, |members| {
            let [first, second] = ["base/1/1259", "base/4/1259"].map(|path| content(members, path).clone());
            assert_eq!(first.len(), second.len());
            assert_ne!(first, second);
            *content(members, "base/1/1259") = second;
            *content(members, "base/4/1259") = first;
        }),
        damage("a page was cut off", Damaged, move |members| {
            let content = content(members, &cut);
            content.truncate(content.len() - 8192);
        }),
        damage("a page of zeros was added", Damaged, move |members| {
            let content = content(members, &longer);
            content.resize(content.len() + 8192, 0);
        }),
        damage("the manifest is missing", Damaged, |members| {
            members.retain(|member| member.path != "backup_manifest");
        }),
        damage("the manifest changed", Damaged, edit("backup_manifest", "Size\": 8192", "Size\": 8193")),
        damage("the manifest's time changed", Damaged, edit("backup_manifest", " GMT\"", " CET\"")),
        damage("a line of the manifest was removed", Damaged, |members| {
            edit_manifest(members, |lines| lines.replacen(&line("base/1/1259\"", &lines), "", 1));
        }),
        damage("a line of the manifest was repeated", Damaged, |members| {
            edit_manifest(members, |lines| {
                lines.replacen(&line("base/1/1259\"", &lines), &line("base/1/1259\"", &lines).repeat(2), 1)
            });
        }),
        damage("a size in the manifest was changed", Damaged, |members| {
            edit_manifest(members, |lines| lines.replacen("Size\": 8192", "Size\": 8191", 1));
        }),
        damage("the manifest is of version 3", Damaged, |members| {
            edit_manifest(members, |lines| lines.replacen("Version\": ", "Version\": 3", 1));
        }),
        damage("the manifest has a field more", Damaged, |members| {
            edit_manifest(members, |lines| lines.replacen("\"Files\"", "\"Flies\": [],\n\"Files\"", 1));
        }),
        damage("the manifest has another start", DamagedForUs, |members| {
            edit_manifest(members, |lines| {
                lines.replacen("Start-LSN\": \"0/", "Start-LSN\": \"0/1", 1).replacen(
                    "End-LSN\": \"0/",
                    "End-LSN\": \"0/1",
                    1,
                )
            });
        }),
        damage("postgresql.auto.conf changed", DamagedForUs, |members| {
            content(members, "postgresql.auto.conf").extend_from_slice(b"fsync = off\n");
        }),
        damage("a member after the manifest", DamagedForUs, |members| {
            members.push(Member::file("standby.signal", b""));
        }),
        damage("a member is there twice", DamagedForUs, |members| {
            let member = members.iter().find(|member| member.path == "base/1/1259").unwrap().clone();
            members.insert(0, member);
        }),
    ]
}

/// Returns the content of a member.
pub(crate) fn content<'a>(members: &'a mut [Member], path: &str) -> &'a mut Vec<u8> {
    let member = members.iter_mut().find(|member| member.path == path);
    &mut member.unwrap_or_else(|| panic!("the backup has {path}")).content
}

/// Inserts a member before the manifest.
pub(crate) fn insert(members: &mut Vec<Member>, path: &str, content: &[u8]) {
    let at = members.iter().position(|member| member.path == "backup_manifest").unwrap_or(members.len());
    members.insert(at, Member::file(path, content));
}

fn damage(name: &'static str, verdict: Verdict, change: impl Fn(&mut Vec<Member>) + 'static) -> Damage {
    Damage { name, verdict, change: Box::new(change) }
}

/// Returns a change of a file's text.
fn edit(path: &'static str, from: &'static str, to: &'static str) -> impl Fn(&mut Vec<Member>) {
    move |members| {
        let content = content(members, path);
        let text = String::from_utf8(content.clone()).unwrap();
        assert!(text.contains(from), "{path} has {from:?}");
        *content = text.replacen(from, to, 1).into_bytes();
    }
}

/// Changes the lines of the manifest and computes their checksum again.
fn edit_manifest(members: &mut [Member], edit: impl Fn(String) -> String) {
    let manifest = content(members, "backup_manifest");
    *manifest = finished(&edit(lines_before_checksum(manifest)));
}

/// Returns the first line that contains `part`.
fn line(part: &str, lines: &str) -> String {
    lines.lines().find(|line| line.contains(part)).unwrap().to_owned() + "\n"
}
