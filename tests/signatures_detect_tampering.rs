//! Signed records: each kind of tampering is found by the verbs that read backups, with the right
//! exit code, and by stock `ssh-keygen`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::signed_env::{ALL, Files, SignedEnv};
use crate::support::{Job, TestEnv, files, finish, wait_for};

/// The exit codes.
const DAMAGED: i32 = 4;
const REFUSED: i32 = 6;

#[test]
fn signed_backups_pass_all_verbs() {
    let env = SignedEnv::new();
    env.run();
    for verb in [&["list", "--all"][..], &["status"], &["verify", "--all"], &["check"]] {
        env.longshore(verb).expect(0);
    }
    assert_eq!(env.listed("shop")["signatures"]["local"], "signed by backup@db1");
    env.test_env.run_with_identity(&["drill"]).expect(0);
    env.longshore(&["hold", "shop", "--why", "audit"]).expect(0);
    assert_eq!(env.listed("shop")["held"]["why"], "audit");
    env.longshore(&["unhold", "shop"]).expect(0);
    assert_eq!(env.listed("shop")["held"], Value::Null);
    env.longshore(&["status"]).expect(0);
    env.reader("other", &["status"]).expect(0);
    // Every record has a signature that ssh-keygen verifies, and nothing else has one.
    let names = env.every_file();
    let records: Vec<&String> = names.iter().filter(|name| name.ends_with(".json")).collect();
    assert_eq!(records.len(), names.iter().filter(|name| name.ends_with(".json.sig")).count(), "{names:?}");
    for name in records {
        let (namespace, principal) = match name {
            name if name.contains("/runs/") && name.contains("-drill-") => ("longshore-report", "drill@db1"),
            name if name.contains("/runs/") => ("longshore-report", "backup@db1"),
            name if name.matches('.').count() > 1 => ("longshore-mark", "drill@db1"),
            _ => ("longshore-manifest", "backup@db1"),
        };
        let script = format!(
            "ssh-keygen -Y verify -f '{}' -I {principal} -n {namespace} -s '{name}.sig' < '{name}'",
            env.path("signers").display()
        );
        finish(Command::new("bash").args(["-c", &script]).current_dir(env.test_env.local())).expect(0);
    }
}

#[test]
fn changed_manifest_is_damage() {
    let env = SignedEnv::new();
    env.run();
    let manifest = env.only("shop", ".json");
    env.edit(&manifest, |text| text.replace("\"run_backups\": 3", "\"run_backups\": 2"));
    env.all_verbs(DAMAGED, "the signature is not one of this content");
    fs::write(env.local(&format!("{manifest}.sig")), "-----BEGIN SSH SIGNATURE-----").unwrap();
    env.longshore(&["list"]).expect(DAMAGED).shows("cannot be parsed");
}

#[test]
fn swapped_artifacts_are_damaged() {
    let env = SignedEnv::new();
    env.run();
    env.run();
    let other = SignedEnv::new();
    other.run();
    let before = env.snapshot();
    let days = env.all("shop", ".dump.zst.age");
    let postgres = env.all("postgres", ".dump.zst.age");
    for swapped in [env.local(&days[0]), env.local(&postgres[1]), other.local(&other.only("shop", ".dump.zst.age"))] {
        env.reset(&before);
        fs::copy(&swapped, env.local(&days[1])).unwrap();
        env.longshore(&["verify", "shop"]).expect(DAMAGED);
        let output = env.path("restored.dump");
        let name = days[1].strip_suffix(".dump.zst.age").unwrap();
        let restore = ["restore", name, "--output", output.to_str().unwrap()];
        assert_ne!(env.test_env.run_with_identity(&restore).code, Some(0), "{}", swapped.display());
    }
}

#[test]
fn unsigned_backups_are_refused() {
    let env = SignedEnv::new();
    env.run();
    let signed = env.snapshot();
    // An attacker who can write removes signatures, or never had a key.
    fs::remove_file(env.local(&format!("{}.sig", env.only("shop", ".json")))).unwrap();
    fs::remove_file(env.local(&format!("{}.sig", env.only("globals", ".json")))).unwrap();
    fs::remove_file(env.local(&format!("{}.sig", env.only("postgres", ".json")))).unwrap();
    env.all_verbs(REFUSED, "not signed");
    // An unencrypted backup by a stranger is newer than the signed one.
    env.reset(&signed);
    let stranger = Job { encrypt: Some("{ type = 'none' }"), more: "max_age = 'none'", ..Job::default() };
    env.test_env.configure(&stranger);
    env.run();
    env.configure("key", "");
    env.longshore(&["list"]).expect(REFUSED).shows("not signed");
    env.longshore(&["status"]).expect(REFUSED).shows("refused");
    env.longshore(&["verify", "--all"]).expect(REFUSED);
    env.test_env.run_with_identity(&["drill"]).expect(REFUSED);
    let output = env.path("restored.dump");
    let restore = ["restore", "shop", "--output", output.to_str().unwrap()];
    env.test_env.run_with_identity(&restore).expect(0).shows("is newer, but was refused");
    // Without the requirement, the list shows which backups are not signed.
    env.configure_as(&env.tables("key").replace("required = true", ""), "");
    let list = env.longshore(&["list", "--all", "--json"]).expect(0).stdout;
    assert!(list.contains("\"not signed\"") && list.contains("\"signed by backup@db1\""), "{list}");
}

#[test]
fn strangers_and_ended_keys_are_refused() {
    let env = SignedEnv::new();
    env.make_key("stranger");
    env.run();
    env.trust(&[("stranger", ALL)]);
    env.all_verbs(REFUSED, "signed by an unknown key");
    env.trust(&[("key", "backup@db1 valid-before=\"20260101Z\"")]);
    env.longshore(&["list"]).expect(REFUSED).shows("valid only until 2026-01-01");
    env.longshore(&["run"]).expect(2).shows("valid only until 2026-01-01");
    env.trust(&[("key", "backup@db1 valid-after=\"29990101Z\"")]);
    env.longshore(&["list"]).expect(REFUSED).shows("valid only from 2999-01-01");
    env.longshore(&["check"]).expect(2).shows("does not trust its own manifests");
}

#[test]
fn forged_marks_change_nothing() {
    let env = SignedEnv::new();
    env.run();
    env.longshore(&["hold", "shop", "--why", "audit"]).expect(0);
    let name = env.only("shop", ".json").strip_suffix(".json").unwrap().to_owned();
    let before = env.snapshot();
    for mark in ["released", "verified", "drilled", "damaged", "withdrawn"] {
        env.reset(&before);
        for time in ["2026-11-30_000000", "9999-12-31_235959"] {
            let labels = "\"withdraws\": [\"hold.2026-11-30_000000\"]";
            fs::write(env.local(&format!("{name}.{mark}.{time}.json")), format!("{{ {labels} }}")).unwrap();
        }
        let listed = env.listed("shop");
        assert_eq!(listed["held"]["why"], "audit", "{mark}");
        assert_eq!(listed["verified_at"].as_array().unwrap().len(), 0, "{mark}");
        assert_eq!(listed["drilled_at"].as_array().unwrap().len(), 0, "{mark}");
        assert_eq!(listed["destinations"]["local"], "marks without a permitted signature", "{mark}");
        env.longshore(&["status"]).expect(0).shows("marks do not count");
        env.longshore(&["verify", "shop"]).expect(3).shows("does not count: not signed");
    }
    // A forged hold of the distant future could never be released.
    env.reset(&before);
    fs::write(env.local(&format!("{name}.hold.9999-12-31_235959.json")), "{}").unwrap();
    env.longshore(&["unhold", "shop"]).expect(0);
    assert_eq!(env.listed("shop")["held"], Value::Null);
    // The loss of a signature deletes no protection.
    env.reset(&before);
    fs::remove_file(env.local(&format!("{}.sig", env.all_marks(&name, "hold")[0]))).unwrap();
    assert_eq!(env.listed("shop")["held"]["why"], "audit");
}

#[test]
fn moved_records_are_found() {
    let env = SignedEnv::new();
    env.run();
    env.longshore(&["hold", "shop", "--why", "audit"]).expect(0);
    env.longshore(&["verify", "postgres"]).expect(0);
    let (shop, postgres) = (env.only("shop", ".json"), env.only("postgres", ".json"));
    let name = |manifest: &str| manifest.strip_suffix(".json").unwrap().to_owned();
    // A signed mark of one backup beside another backup.
    let verified = env.all_marks(&name(&postgres), "verified")[0].clone();
    for suffix in ["", ".sig"] {
        let moved = format!("{}{suffix}", verified.replace(&name(&postgres), &name(&shop)));
        fs::copy(env.local(&format!("{verified}{suffix}")), env.local(&moved)).unwrap();
    }
    assert_eq!(env.listed("shop")["verified_at"].as_array().unwrap().len(), 0);
    env.longshore(&["verify", "shop"]).expect(3).shows("the mark is one of main/postgres/");
    // A signed manifest under the name of another one.
    for suffix in ["", ".sig"] {
        fs::copy(env.local(&format!("{postgres}{suffix}")), env.local(&format!("{shop}{suffix}"))).unwrap();
    }
    env.longshore(&["list"]).expect(DAMAGED).shows("another backup");
}

#[test]
fn roles_bound_a_signer() {
    let env = SignedEnv::new();
    env.run();
    env.longshore(&["hold", "shop", "--why", "audit"]).expect(0);
    env.trust(&[("key", "drill@test1,prune@test1")]);
    env.longshore(&["list"]).expect(REFUSED).shows("has not the role backup");
    env.trust(&[("key", "backup@db1")]);
    env.longshore(&["unhold", "shop"]).expect(2).shows("has not the role prune");
    let name = env.only("postgres", ".json").strip_suffix(".json").unwrap().to_owned();
    env.run();
    let before = env.snapshot();
    env.longshore(&["remove", &name, "--why", "a test", "--yes"]).shows("the deletion cannot be signed");
    assert_eq!(env.snapshot(), before, "nothing was deleted");
    env.longshore(&["check"]).shows("without the role prune and drill");
}

#[test]
fn deletions_and_rollbacks_are_found() {
    let env = SignedEnv::new();
    env.configure("key", "retention = 'short'\n[retention.short]\nkeep_last = 1\n");
    env.run();
    let old = env.snapshot();
    env.reader("early", &["verify", "--all"]).expect(0);
    // The run prunes the backups of the first one: no alarm.
    env.run();
    env.longshore(&["status"]).expect(0);
    env.reader("early", &["verify", "--all"]).expect(0);
    let new = env.snapshot();
    assert!(new.keys().any(|name| name.contains("-removal-")), "{:?}", new.keys());
    // All is rolled back by one run.
    env.reset(&old);
    for verb in [&["list"][..], &["status"], &["verify", "--all"]] {
        env.longshore(verb).expect(REFUSED).shows("rolled back");
    }
    // Before the drill, whose report is removed below.
    env.reader("early", &["list"]).expect(REFUSED).shows("rolled back");
    env.test_env.run_with_identity(&["drill"]).expect(REFUSED).shows("rolled back");
    let output = env.path("restored.dump");
    let restore = ["restore", "shop", "--output", output.to_str().unwrap()];
    env.test_env.run_with_identity(&restore).expect(0).shows("rolled back");
    // Everything is deleted.
    env.reset(&Files::new());
    fs::create_dir_all(env.test_env.local()).unwrap();
    env.reader("early", &["list"]).expect(REFUSED).shows("missing");
    // One backup is deleted.
    env.reset(&new);
    env.reader("early", &["list"]).expect(0);
    let shop = env.only("shop", ".json");
    fs::remove_file(env.local(&shop)).unwrap();
    env.reader("early", &["list"]).expect(REFUSED).shows("no signed statement");
    env.reader("early", &["list"]).expect(REFUSED).shows("no signed statement");
    let host = env.test_env.json(&["status", "--json"]);
    assert!(host["attention"].as_array().unwrap().iter().any(|it| it["matter"] == "history_changed"), "{host}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    env.reader("early", &["trust", "accept-chain", host.trim()]).expect(0);
    env.reader("early", &["list"]).expect(0);
    env.reader("early", &["trust", "accept-chain", "no-such-host"]).expect(1).shows("known hosts");
}

#[test]
fn forked_chains_are_found() {
    let env = SignedEnv::new();
    env.run();
    env.reader("other", &["list"]).expect(0);
    let (state, thief) = (env.path("state"), env.path("thief"));
    finish(Command::new("cp").arg("-a").args([&state, &thief])).expect(0);
    env.run();
    env.reader("other", &["list"]).expect(0);
    // Another host continues with the key and the state of before.
    let own = env.path("own");
    fs::rename(&state, &own).unwrap();
    fs::rename(&thief, &state).unwrap();
    env.run();
    env.reader("other", &["list"]).expect(REFUSED).shows("forked");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    env.reader("other", &["trust", "accept-chain", host.trim()]).expect(0);
    env.reader("other", &["list"]).expect(0);
    // The host loses its state.
    fs::remove_dir_all(&state).unwrap();
    env.run();
    env.reader("other", &["list"]).expect(REFUSED).shows("new chain");
    env.reader("other", &["trust", "accept-chain", host.trim()]).expect(0);
    env.reader("other", &["list"]).expect(0);
    env.run();
    env.reader("other", &["list"]).expect(0);
}

#[test]
fn resigned_manifests_are_found() {
    let env = SignedEnv::new();
    env.run();
    env.reader("other", &["list"]).expect(0);
    // A thief of the key exchanges a backup that other hosts saw, with a good signature.
    let manifest = env.only("shop", ".json");
    let before = env.snapshot();
    env.edit(&manifest, |text| text.replace("\"run_backups\": 3", "\"run_backups\": 2"));
    fs::remove_file(env.local(&format!("{manifest}.sig"))).unwrap();
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-Y", "sign", "-n", "longshore-manifest", "-f"]).arg(env.path("key")).arg(env.local(&manifest));
    finish(&mut sign).expect(0);
    for verb in [&["list"][..], &["status"], &["verify", "--all"]] {
        env.reader("other", verb).expect(REFUSED).shows("replaced: the manifests of main/shop/");
    }
    env.reset(&before);
    env.reader("other", &["list"]).expect(0);
}

#[test]
fn orphan_signature_hinders_no_copy() {
    let env = SignedEnv::new();
    let other = env.test_env.make_folder("other");
    env.run();
    let (local, tables) = (env.test_env.local(), env.tables("key"));
    let more = format!("max_age = 'none'\n{tables}");
    let ship = [("local", local.as_path()), ("other", other.as_path())];
    env.test_env.configure(&Job { ship: &ship, more: &more, ..Job::default() });
    // An upload that was interrupted before the manifest left a signature.
    let manifest = env.only("shop", ".json");
    fs::create_dir_all(other.join("main/shop")).unwrap();
    fs::write(other.join(format!("{manifest}.sig")), "-----BEGIN SSH SIGNATURE-----").unwrap();
    env.longshore(&["sync"]).expect(0);
    env.longshore(&["list"]).expect(0);
    assert_eq!(env.listed("shop")["signatures"]["other"], "signed by backup@db1");
}

#[test]
fn dead_destination_hinders_no_acceptance() {
    let env = SignedEnv::new();
    env.run();
    let text =
        |host: &str| format!("[destination.dead]\ntype = 'sftp'\nhost = '127.0.0.1'\nport = 1\npath = '/{host}'\n");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    env.reader("other", &["list"]).expect(0);
    fs::remove_dir_all(env.path("state")).unwrap();
    env.run();
    env.reader("other", &["list"]).expect(REFUSED).shows("new chain");
    env.reader_with("other", &text("other"), &["trust", "accept-chain", host.trim()])
        .expect(2)
        .shows("no SSH server listens");
    env.reader("other", &["list"]).expect(0);
}

#[test]
fn rekey_raises_no_alarm() {
    let env = SignedEnv::new();
    env.run();
    env.reader("other", &["list"]).expect(0);
    let recipient = finish(Command::new("bash").args(["-c", "age-keygen 2>/dev/null | age-keygen -y"])).expect(0);
    env.test_env.run_with_identity(&["rekey", "--all", "--to", recipient.stdout.trim()]).expect(0);
    for verb in [&["list", "--all"][..], &["status"], &["verify", "--all"]] {
        env.longshore(verb).expect(0);
        env.reader("other", verb).expect(0);
    }
    env.test_env.run_with_identity(&["drill"]).expect(0);
}

#[test]
fn copies_of_another_cluster_are_found() {
    let (env, other) = (SignedEnv::new(), SignedEnv::new());
    env.run();
    env.longshore(&["list"]).expect(0);
    // Another host has the same names, and a key that this host trusts.
    for name in ["key", "key.pub"] {
        fs::copy(env.path(name), other.path(name)).unwrap();
    }
    other.trust(&[("key", ALL)]);
    other.run();
    let stranger = other.only("shop", ".json");
    let prefix = stranger.strip_suffix("json").unwrap();
    for file in files(&other.test_env.local()).into_iter().filter(|file| file.starts_with(prefix)) {
        fs::copy(other.local(&file), env.local(&file)).unwrap();
    }
    env.longshore(&["list"]).expect(REFUSED).shows("another cluster \"main\"");
}

#[test]
fn adoption_signs_verified_backups() {
    let env = SignedEnv::new();
    env.test_env.configure(&Job { more: "max_age = 'none'", ..Job::default() });
    env.run();
    env.run();
    env.longshore(&["hold", "postgres", "--why", "audit"]).expect(0);
    env.longshore(&["hold", "globals", "--why", "audit"]).expect(0);
    env.longshore(&["unhold", "globals"]).expect(0);
    let days = env.all("shop", ".dump.zst.age");
    fs::copy(env.local(&days[1]), env.local(&days[0])).unwrap();
    env.configure("key", "");
    env.longshore(&["list"]).expect(REFUSED).shows("not signed");
    env.test_env.run_with_identity(&["trust", "adopt", "local"]).expect(3).shows("nothing was signed");
    env.longshore(&["list"]).expect(REFUSED);
    env.test_env.run_with_identity(&["trust", "adopt", "local", "--yes"]).expect(3).shows("signed");
    // The damaged backup was not signed.
    env.longshore(&["list"]).expect(REFUSED).shows(days[0].strip_suffix(".dump.zst.age").unwrap());
    let name = days[0].strip_suffix(".dump.zst.age").unwrap();
    for file in files(&env.test_env.local()).into_iter().filter(|file| file.starts_with(&format!("{name}."))) {
        fs::remove_file(env.local(&file)).unwrap();
    }
    env.longshore(&["list"]).expect(0);
    env.longshore(&["verify", "--all"]).expect(0);
    let all = env.test_env.json(&["list", "--all", "--json"]);
    let held = all.as_array().unwrap().iter().filter(|backup| backup["held"] != Value::Null);
    assert!(held.clone().count() == 1 && held.clone().all(|it| it["subject"]["name"] == "postgres"), "{all}");
    assert!(all.as_array().unwrap().iter().all(|it| it["destinations"]["local"] == "whole"), "{all}");
    env.longshore(&["trust", "adopt", "local"]).expect(0).shows("every backup has a trusted signature");
}

#[test]
fn copies_keep_their_signatures() {
    let env = SignedEnv::new();
    let other = env.test_env.make_folder("other");
    env.run();
    env.longshore(&["hold", "shop", "--why", "audit"]).expect(0);
    let (local, tables) = (env.test_env.local(), env.tables("key"));
    let more = format!("max_age = 'none'\n{tables}");
    let ship = [("local", local.as_path()), ("other", other.as_path())];
    env.test_env.configure(&Job { ship: &ship, more: &more, ..Job::default() });
    env.longshore(&["sync"]).expect(0);
    let manifest = format!("{}.sig", env.only("shop", ".json"));
    assert_eq!(fs::read(env.local(&manifest)).unwrap(), fs::read(other.join(&manifest)).unwrap());
    env.longshore(&["list"]).expect(0);
    assert_eq!(env.listed("shop")["signatures"]["other"], "signed by backup@db1");
    assert_eq!(env.listed("shop")["held"]["destinations"].as_array().unwrap().len(), 2);
    // A repair replaces a changed manifest with its signature.
    let manifest = env.only("shop", ".json");
    env.edit(&manifest, |text| text.replace("\"run_backups\": 3", "\"run_backups\": 2"));
    env.longshore(&["list"]).expect(DAMAGED);
    env.longshore(&["sync", "--repair"]).expect(0);
    env.longshore(&["list"]).expect(0);
}

#[test]
fn keys_in_the_agent_sign() {
    let env = SignedEnv::new();
    let socket = env.path("agent");
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).spawn().unwrap();
    wait_for("the agent", || socket.exists().then_some(()));
    let mut add = Command::new("ssh-add");
    finish(add.arg(env.path("key")).env("SSH_AUTH_SOCK", &socket)).expect(0);
    env.configure("key.pub", "");
    finish(env.test_env.command().arg("run").env("SSH_AUTH_SOCK", &socket)).expect(0);
    env.longshore(&["list"]).expect(0);
    // Without the agent, no record is written that this host would refuse.
    env.longshore(&["run"]).expect(2).shows("SSH_AUTH_SOCK");
    env.longshore(&["list"]).expect(0);
    env.longshore(&["check"]).expect(2).shows("ssh-add -L");
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn keys_in_a_destination_are_found() {
    let env = SignedEnv::new();
    env.run();
    fs::copy(env.path("signers"), env.local("signers")).unwrap();
    let inside =
        env.tables("key").replace(env.path("signers").to_str().unwrap(), env.local("signers").to_str().unwrap());
    env.configure_as(&inside, "");
    env.longshore(&["check"]).expect(2).shows("choose whom this host trusts");
    // Other users can read the key.
    env.configure("key", "");
    let mut chmod = Command::new("chmod");
    finish(chmod.arg("644").arg(env.path("key"))).expect(0);
    env.longshore(&["check"]).expect(2).shows("other users can read the signing key");
}

#[test]
fn restore_page_verifies_signatures() {
    let env = SignedEnv::new();
    env.run();
    let page = fs::read_to_string(env.local("RESTORE.md")).unwrap();
    let block = |heading: &str| {
        let (_, rest) = page.split_once(heading).unwrap();
        rest.split_once("```sh\n").unwrap().1.split_once("\n```").unwrap().0.to_owned()
    };
    let script = format!("{}\n{}", block("## Find the newest backup"), block("## Verify the signature"));
    let verify = |folder: &Path| {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &script]).current_dir(folder);
        shell.env("CLUSTER", "main").env("DATABASE", "shop").env("SIGNER", "backup@db1");
        finish(shell.env("SIGNERS", env.path("signers")))
    };
    verify(&env.test_env.local()).expect(0).shows("Good \"longshore-manifest\" signature for backup@db1");
    env.edit(&env.only("shop", ".json"), |text| text.replace("\"run_backups\": 3", "\"run_backups\": 2"));
    assert_ne!(verify(&env.test_env.local()).code, Some(0));
}

#[test]
fn initial_configuration_signs() {
    let test_env = TestEnv::new();
    let config = test_env.path("new/config.toml");
    let local = test_env.path("local");
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.env("HOME", test_env.path("")).arg("--config").arg(&config).arg("init");
    command.args(["--connection", &test_env.cluster.connection(), "--ship", local.to_str().unwrap()]);
    let init = finish(&mut command).expect(0);
    let signers = fs::read_to_string(test_env.path("new/allowed_signers")).unwrap();
    assert!(signers.contains("namespaces=\"longshore-*\" ssh-ed25519 "), "{signers}");
    init.shows(signers.trim());
    let mode = fs::metadata(test_env.path("new/signing_key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("\n# [trust]\n# allowed_signers = "), "{text}");
    let text = text.replace("# [trust]", "[trust]").replace("# allowed_signers", "allowed_signers");
    let text = text.replace("# required = false", "required = true");
    let dirs = format!("state_dir = '{0}/state'\nlock_dir = '{0}/locks'\n", test_env.path("").display());
    fs::write(&config, dirs + &text).unwrap();
    for verb in [&["run"][..], &["list"], &["verify"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.env("HOME", test_env.path("")).arg("--config").arg(&config).args(verb);
        finish(&mut command).expect(0);
    }
}
