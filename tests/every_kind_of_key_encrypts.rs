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
    # No stanza is of this plugin.
    *identity-v1) if [ -z "$key" ]; then printf -- '-> done\n\n'; exit; fi ;;
esac
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
    script(&bin.join("age-plugin-fake"), PLUGIN);
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

/// Returns the first table of the configuration beneath a heading of the manual.
fn recipe(heading: &str) -> String {
    let page = include_str!("../crates/cli/doc/longshore-encryption.7.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("the page has the heading");
    let (_, block) = section.split_once("```toml\n").expect("a table follows it");
    block.split_once("\n```").expect("the table ends").0.to_owned()
}

/// Writes an executable script.
fn script(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn identity_comes_from_pass() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more: &recipe("pass"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let (home, store) = (test_env.make_folder("gnupg"), test_env.path("store"));
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
    let with_store = |command: &mut Command| {
        finish(command.env("GNUPGHOME", &home).env("PASSWORD_STORE_DIR", &store).env("HOME", test_env.path("")))
    };
    let key = ["--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "a@example.net", "default"];
    with_store(Command::new("gpg").args(key).arg("default").arg("never")).expect(0);
    with_store(Command::new("pass").args(["init", "a@example.net"])).expect(0);
    let insert = "pass insert --multiline longshore/identity < \"$0\"";
    with_store(Command::new("sh").args(["-c", insert]).arg(test_env.identity())).expect(0);
    let verified = with_store(test_env.command().arg("verify"));
    with_store(Command::new("gpgconf").args(["--kill", "all"])).expect(0);
    verified.expect(0).shows("verified: read to its end").omits("AGE-SECRET");
}

/// A program that answers as `vault` does, as far as the recipe uses it.
const VAULT: &str = r#"#!/bin/sh
[ "$*" = "kv get -field=identity secret/longshore" ] && [ "$VAULT_TOKEN" = s.token ] || exit 2
# Without a line feed at the end.
printf %s "$(cat "$IDENTITY")"
"#;

#[test]
fn identity_comes_from_vault() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more: &recipe("Vault"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let bin = test_env.make_folder("bin");
    script(&bin.join("vault"), VAULT);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let verify = |token: &str| {
        let mut command = test_env.command();
        command.env("PATH", &path).env("VAULT_TOKEN", token).env("IDENTITY", test_env.identity());
        finish(command.arg("verify"))
    };
    verify("s.token").expect(0).shows("verified: read to its end");
    let text = std::fs::read_to_string(test_env.identity()).unwrap();
    verify("s.other").expect(2).shows("[identity] command").omits(text.lines().last().unwrap());
}

#[test]
fn plugin_identity_opens_backups_for_every_verb() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    let bin = test_env.make_folder("bin");
    script(&bin.join("age-plugin-fake"), PLUGIN);
    let identity = test_env.path("plugin.txt");
    std::fs::write(&identity, PLUGIN_IDENTITY).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let encrypt = format!("{{ type = 'age', recipients = ['{PLUGIN_RECIPIENT}'] }}");
    let more = format!("[identity]\nfile = '{}'\n", identity.display());
    test_env.configure(&Job { encrypt: Some(&encrypt), more: &more, ..Job::default() });
    let run = |arguments: &[&str]| finish(test_env.command().args(arguments).env("PATH", &path));
    run(&["run"]).expect(0);
    run(&["check"]).expect(0).shows("the identity decrypts the oldest backup");
    run(&["verify"]).expect(0).shows("matches the record");
    run(&["inspect", "shop"]).expect(0);
    run(&["drill"]).expect(0);
    let output = test_env.path("shop.dump");
    run(&["restore", "shop", "--output", output.to_str().unwrap()]).expect(0);
    run(&["rekey", "--to", test_env.recipient()]).expect(0).shows("written");
    test_env.run_with_identity(&["verify"]).expect(0).shows("matches the record");
    // A plugin may be a recipient of a header, too.
    test_env.configure(&Job { more: &more, ..Job::default() });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    run(&["run"]).expect(0);
    run(&["verify"]).expect(2).shows("none of the identities given");
    let age = test_env.identity().display().to_string();
    run(&["rekey", "--to", PLUGIN_RECIPIENT, "-i", &age]).expect(0).shows("written");
    run(&["verify"]).expect(0).shows("matches the record");
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
