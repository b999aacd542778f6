//! `verify` reads a destination back: what changed is found, named, and told apart from what cannot be read.

use crate::support::{Workshop, file_with};

fn with_backup() -> Workshop {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 2);
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["verify", "--all"]).expect(0).says("sound: decoded to its end");
    workshop
}

#[test]
fn a_flipped_bit_a_cut_and_a_missing_artifact_are_damage_with_and_without_an_identity() {
    for damage in ["flip", "cut", "remove"] {
        let workshop = with_backup();
        let artifact = file_with(&workshop.local().join("main/bulk"), ".age");
        let mut bytes = std::fs::read(&artifact).unwrap();
        match damage {
            "flip" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&artifact, bytes).unwrap();
            }
            "cut" => std::fs::write(&artifact, &bytes[..bytes.len() - 1]).unwrap(),
            _ => std::fs::remove_file(&artifact).unwrap(),
        }
        workshop.longshore(&["verify"]).expect(4).says("main/bulk/bulk-").says("DAMAGED");
        workshop.opening(&["verify"]).expect(4).says("DAMAGED");
        let read = workshop.json(&["verify", "--json"]);
        let damaged: Vec<_> = read.as_array().unwrap().iter().filter(|read| read["damaged"] == true).collect();
        assert_eq!(damaged.len(), 1, "{damage}");
        // What is damaged is not restored without a word.
        let to = format!("{} dbname=again", workshop.cluster.connection());
        let restored = workshop.opening(&["restore", "bulk", "--create", "--to", &to]);
        assert!(matches!(restored.code, Some(2 | 4)), "{damage}: {restored:?}");
    }
}

#[test]
fn a_manifest_that_was_cut_or_moved_is_damage() {
    let workshop = with_backup();
    let manifest = file_with(&workshop.local().join("main/bulk"), ".json");
    let whole = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    workshop.longshore(&["list"]).expect(4).says("not a");
    workshop.longshore(&["verify", "--all"]).expect(4);
    let elsewhere = workshop.make_folder("local/main/other").join("other-2026-06-07_091500.json");
    std::fs::write(&manifest, &whole).unwrap();
    std::fs::write(elsewhere, &whole).unwrap();
    workshop.longshore(&["list"]).expect(4).says("which is another backup");
}

#[test]
fn a_wrong_identity_is_no_damage() {
    let workshop = with_backup();
    let other = Workshop::new();
    let mut verify = workshop.command();
    let ended = crate::support::finish(verify.args(["verify", "bulk", "--identity"]).arg(other.identity()));
    ended.expect(2).says("FAILED").keeps_quiet_about("DAMAGED");
}

#[test]
fn one_backup_can_be_named() {
    let workshop = with_backup();
    let name = workshop.json(&["list", "bulk", "--json"])[0]["name"].as_str().unwrap().to_owned();
    workshop.opening(&["verify", &name]).expect(0).says(&name);
    workshop.opening(&["verify", "nothing"]).expect(2).says("no backup of that name");
}
