//! A backup encrypted to any kind of age key can be decrypted by that key, and by no other.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{CommandOutput, Job, TestEnv, finish};

/// Encrypts a backup by the `encrypt` table, and verifies the backup with an identity.
fn round_trip(test_env: &TestEnv, encrypt: &str, identity: &Path, prepare: impl Fn(&mut Command)) -> CommandOutput {
    test_env.configure(&Job { encrypt: Some(encrypt), ..Job::default() });
    let run = |arguments: &[&str]| {
        let mut command = test_env.command();
        prepare(command.args(arguments));
        finish(&mut command)
    };
    run(&["run"]).expect(0);
    run(&["verify", "--identity", identity.to_str().unwrap()])
}

fn ssh_key(test_env: &TestEnv, kind: &str, passphrase: &str) -> (PathBuf, String) {
    let key = test_env.path(&format!("ssh-{kind}-{}", passphrase.len()));
    let keygen = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(&key).output();
    let keygen = keygen.expect("ssh-keygen is missing: run `cargo xtask test`, which installs it");
    assert!(keygen.status.success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    (key, public.trim().to_owned())
}

#[test]
fn encrypts_to_ssh_keys() {
    let test_env = TestEnv::new();
    for (kind, passphrase) in [("ed25519", ""), ("rsa", ""), ("ed25519", "sesame")] {
        let (key, public) = ssh_key(&test_env, kind, passphrase);
        let encrypt = format!("{{ type = 'age', recipients = ['{public}'] }}");
        let answer = |command: &mut Command| {
            command.env("LONGSHORE_IDENTITY_PASSPHRASE", passphrase);
        };
        round_trip(&test_env, &encrypt, &key, answer).expect(0).shows("verified: read to its end");
        if !passphrase.is_empty() {
            let unanswered = test_env.longshore(&["verify", "--identity", key.to_str().unwrap()]);
            assert_ne!(unanswered.code, Some(0));
            unanswered.shows("LONGSHORE_IDENTITY_PASSPHRASE").stdout_omits("damaged");
        }
    }
}

#[test]
fn each_of_several_recipients_can_decrypt() {
    let test_env = TestEnv::new();
    let (key, public) = ssh_key(&test_env, "ed25519", "");
    let file = test_env.path("recipients.txt");
    std::fs::write(&file, format!("# who may open\n{public}\n")).unwrap();
    let encrypt = format!(
        "{{ type = 'age', recipients = ['{}'], recipients_file = '{}' }}",
        test_env.recipient(),
        file.display()
    );
    round_trip(&test_env, &encrypt, &key, |_| {}).expect(0).shows("verified: read to its end");
    test_env.run_with_identity(&["verify"]).expect(0).shows("verified: read to its end");
    let recipients = test_env.json(&["list", "globals", "--json"])[0]["recipients"].clone();
    assert_eq!(recipients.as_array().unwrap().len(), 2);
}

/// A plugin that stores the file key in plaintext.
const PLUGIN: &str = r#"#!/bin/sh
while read -r line; do
    case $line in
        "-> wrap-file-key" | "-> recipient-stanza 0 fake") read -r key ;;
        "-> done") read -r blank; break ;;
    esac
done
[ -z "$BROKEN" ] || exit 1
case $1 in
    *recipient-v1) printf -- '-> recipient-stanza 0 fake\n%s\n' "$key" ;;
    *) printf -- '-> file-key 0\n%s\n' "$key" ;;
esac
read -r ok
read -r blank
printf -- '-> done\n\n'
"#;
const PLUGIN_RECIPIENT: &str = "age1fake1vehhygr5v4ehguc8xryk9";
const PLUGIN_IDENTITY: &str = "AGE-PLUGIN-FAKE-18YX8DC";

#[test]
fn encrypts_with_an_age_plugin() {
    let test_env = TestEnv::new();
    let bin = test_env.make_folder("bin");
    std::fs::write(bin.join("age-plugin-fake"), PLUGIN).unwrap();
    std::fs::set_permissions(bin.join("age-plugin-fake"), PermissionsExt::from_mode(0o700)).unwrap();
    let identity = test_env.path("plugin.txt");
    std::fs::write(&identity, PLUGIN_IDENTITY).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let encrypt = format!("{{ type = 'age', recipients = ['{PLUGIN_RECIPIENT}', '{}'] }}", test_env.recipient());
    let with_plugin = |command: &mut Command| {
        command.env("PATH", &path);
    };
    round_trip(&test_env, &encrypt, &identity, with_plugin).expect(0).shows("verified: read to its end");
    test_env.run_with_identity(&["verify"]).expect(0).shows("verified: read to its end");

    // Without the plugin's program, nothing is dumped. With a broken one, nothing is shipped.
    test_env.longshore(&["run"]).expect(1).shows("age-plugin-fake");
    let mut broken = test_env.command();
    finish(broken.arg("run").env("PATH", &path).env("BROKEN", "yes")).expect(2);
    assert_eq!(test_env.json(&["list", "globals", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn encrypts_with_a_passphrase() {
    let test_env = TestEnv::new();
    let file = test_env.path("passphrase");
    std::fs::write(&file, "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let encrypt = format!("{{ type = 'age', passphrase_file = '{}' }}", file.display());
    test_env.configure(&Job { encrypt: Some(&encrypt), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let verify = |passphrase: &str| {
        let mut command = test_env.command();
        finish(command.args(["verify", "--ask-passphrase"]).env("LONGSHORE_IDENTITY_PASSPHRASE", passphrase))
    };
    verify("correct horse battery staple").expect(0).shows("verified: read to its end");
    verify("something else").expect(2).stdout_shows("failed").stdout_omits("damaged");
    test_env.longshore(&["verify"]).expect(0).shows("digest matches, not decoded");
}
