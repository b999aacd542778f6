//! Programs of the operator encrypt backups, and other programs decrypt them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::programs::{Programs, example};
use crate::support::{ArchiveEnv, Job, TestEnv, artifact, files, finish, manifest};

/// A key pair of GnuPG.
struct Gpg {
    folder: tempfile::TempDir,
}

impl Gpg {
    fn new() -> Self {
        // The path of the agent's socket must be short.
        let gpg = Self { folder: tempfile::Builder::new().prefix("gpg-").tempdir().unwrap() };
        fs::set_permissions(gpg.folder.path(), Permissions::from_mode(0o700)).unwrap();
        gpg.run(&["--passphrase", "", "--quick-generate-key", "backup@example.org", "default", "default", "never"]);
        gpg.run(&["--output", gpg.public().to_str().unwrap(), "--export", "backup@example.org"]);
        gpg
    }

    fn run(&self, arguments: &[&str]) {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--homedir"]).arg(self.folder.path()).args(arguments);
        let output = gpg.output().expect("gpg is missing: run `cargo xtask test`, which installs it");
        assert!(output.status.success(), "{output:?}");
    }

    fn public(&self) -> PathBuf {
        self.folder.path().join("public.gpg")
    }

    /// Returns the value of `encrypt`, with the shipped example.
    fn encrypt(&self) -> String {
        let program = format!("['{}', '{}']", example("gpg-encrypt"), self.public().display());
        format!("{{ type = 'exec', extension = 'gpg', undo = 'gpg --decrypt', program = {program} }}")
    }

    /// Returns the table that decrypts.
    fn decrypt(&self) -> String {
        format!(
            "[decrypt.gpg]\ntype = 'exec'\nprogram = ['/usr/bin/gpg', '--batch', '--quiet', '--decrypt']\n\
             env = {{ GNUPGHOME = '{}' }}\n",
            self.folder.path().display()
        )
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Without an agent, there is none to end.
        Command::new("gpgconf").arg("--homedir").arg(self.folder.path()).args(["--kill", "all"]).status().ok();
    }
}

/// Creates a database, and configures a job whose backups gpg encrypts.
fn sealed_by(gpg: &Gpg, more: &str) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.psql("postgres", "create database shop");
    let rows = "create table item as select i as id, md5(i::text) as name from generate_series(1, 5000) i";
    test_env.cluster.psql("shop", rows);
    test_env.configure(&Job { encrypt: Some(&gpg.encrypt()), more, ..Job::default() });
    test_env
}

fn rows(cluster: &Cluster) -> String {
    cluster.psql("shop", "select count(*) || md5(string_agg(name, ',' order by id)) from item")
}

#[test]
fn gpg_backups_are_verified_restored_and_drilled() {
    let gpg = Gpg::new();
    let test_env = sealed_by(&gpg, &gpg.decrypt());
    test_env.longshore(&["check"]).expect(0).shows("encrypts files that end with .gpg").shows("decrypts new backups");
    test_env.longshore(&["run"]).expect(0);
    let shop = test_env.local().join("main/shop");
    assert!(artifact(&shop).to_str().unwrap().ends_with(".dump.zst.gpg"));
    assert!(files(&shop).iter().any(|file| file.ends_with(".details.json.gpg")), "{:?}", files(&shop));
    let text = fs::read_to_string(manifest(&shop)).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["artifact"]["encryption"], "gpg");
    assert_eq!(record["artifact"]["decryption"], "gpg --decrypt");
    assert!(!text.contains("item"), "the manifest names a table: {text}");

    test_env.longshore(&["list", "--all"]).expect(0).shows("main/shop");
    test_env.longshore(&["inspect", "shop"]).expect(0).shows("item");
    test_env.longshore(&["verify", "--all"]).expect(0).shows("verified: read to its end");
    test_env.longshore(&["drill"]).expect(0);
    test_env.longshore(&["status"]).omits("damaged");
    let target = Cluster::start(&Installation::system(), &[]);
    let to = target.connection();
    test_env.longshore(&["restore", "shop", "--globals", "--create", "--to", &to]).expect(0);
    assert_eq!(rows(&target), rows(&test_env.cluster));
    let dump = test_env.path("shop.dump");
    test_env.longshore(&["restore", "shop", "--output", dump.to_str().unwrap()]).expect(0);
    assert!(fs::read(&dump).unwrap().starts_with(b"PGDMP"));

    // A changed byte is damage, and not only a failure of gpg.
    let file = artifact(&shop);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    test_env.longshore(&["verify", "--all"]).expect(4).shows("damaged");
}

#[test]
fn restore_page_undoes_gpg() {
    let gpg = Gpg::new();
    let test_env = sealed_by(&gpg, "");
    test_env.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::system(), &[]);
    let page = fs::read_to_string(test_env.local().join("RESTORE.md")).unwrap();
    let commands: Vec<_> = page.split("```sh\n").skip(1).map(|part| part.split("```").next().unwrap()).collect();
    // The function that the page asks for, with the command that the manifest names.
    let shop = manifest(&test_env.local().join("main/shop"));
    let by_hand = Command::new("jq").args(["-r", ".artifact.decryption // \"\""]).arg(&shop).output().unwrap();
    let by_hand = String::from_utf8(by_hand.stdout).unwrap();
    let script = format!("decrypted() {{ {}; }}\n{}", by_hand.trim().replace("gpg", "gpg --quiet"), commands.concat());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &script]);
    shell.current_dir(test_env.local()).env("CLUSTER", "main").env("DATABASE", "shop");
    shell.env("GNUPGHOME", gpg.folder.path());
    shell.env("PGHOST", target.connection().split_whitespace().next().unwrap().trim_start_matches("host="));
    shell.env("PGPORT", target.port().to_string()).env("PGUSER", "postgres");
    finish(&mut shell).expect(0).shows("OK");
    assert_eq!(rows(&target), rows(&test_env.cluster));
}

/// A program of the protocol that encrypts, and finds modifications by a digest at the end.
const XOR: &str = r#"#!/usr/bin/env python3
import hashlib, json, os, sys
control = os.fdopen(3, "rb")
send = lambda **message: os.write(3, (json.dumps(message) + "\n").encode())
flipped = lambda data: bytes(byte ^ 0x55 for byte in data)
control.readline()
send(type="hello", protocol="longshore-exec/1", name="xor", version="1", roles=["encrypt", "decrypt"])
start = json.loads(control.readline())
data = sys.stdin.buffer.read()
if start["role"] == "encrypt":
    out = flipped(data) + hashlib.sha256(data).digest()
else:
    out = flipped(data[:-32])
    if hashlib.sha256(out).digest() != data[-32:]:
        send(type="error", kind="corrupt", message="the file was modified")
        sys.exit(1)
sys.stdout.buffer.write(out)
sys.stdout.buffer.flush()
send(type="done", bytes_in=len(data), bytes_out=len(out))
"#;

#[test]
fn programs_of_the_protocol_encrypt_and_decrypt() {
    let programs = Programs::new();
    let path = programs.script("xor", "");
    fs::write(&path, XOR).unwrap();
    let test = ["plugin", "test", &path, "--hello-timeout", "60s"];
    programs.run(&test).expect(0).shows("decrypt: fails for a modified file").omits("FAILED");
    let program = format!("program = ['{path}'], protocol = 'longshore-exec/1', hello_timeout = '60s'");
    let decrypt = "[decrypt.xor]\ntype = 'exec'\n".to_owned() + &program.replace("], ", "]\n").replace("', ", "'\n");
    programs.configure_script("seq 1000", &decrypt);
    let config = programs.env.path("config.toml");
    let seal = format!("{{ type = 'exec', extension = 'xor', undo = 'xor', {program} }}");
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("{ type = 'none' }", &seal)).unwrap();
    programs.run(&["check"]).expect(0).shows("decrypts new backups");
    programs.run(&["run"]).expect(0);
    let out = programs.env.path("out").display().to_string();
    programs.run(&["restore", "wiki", "--output", &out]).expect(0);
    assert_eq!(fs::read_to_string(&out).unwrap().lines().last(), Some("1000"));
    // A program with another key calls the file modified, which proves no damage.
    fs::write(&path, XOR.replace("out = flipped(data[:-32])", "out = data[:-32]")).unwrap();
    programs.run(&["verify", "--all"]).expect(2).shows("the program reports damage").omits("damaged");
    assert!(programs.backups().iter().all(|file| !file.contains(".damaged.")), "{:?}", programs.backups());
    // A program that accepts modified files, and one that encrypts nothing.
    fs::write(&path, XOR.replace("!= data[-32:]", "is None")).unwrap();
    programs.run(&test).expect(2).shows("FAILED   decrypt: fails for a modified file");
    fs::write(&path, XOR.replace("byte ^ 0x55", "byte")).unwrap();
    programs.run(&test).expect(2).shows("FAILED   encrypt: reads 100 bytes");
}

#[test]
fn missing_decryption_is_named() {
    let programs = Programs::new();
    let encrypt = programs.script("seal", "tr a-z b-za");
    let seal =
        format!("encrypt = {{ type = 'exec', extension = 'rot', undo = 'tr b-za a-z', program = ['{encrypt}'] }}");
    let configure = |more: &str| {
        let path = programs.env.path("config.toml");
        programs.configure_script("echo the plaintext", more);
        let text = fs::read_to_string(&path).unwrap().replace("encrypt = { type = 'none' }", &seal);
        fs::write(&path, text).unwrap();
    };
    configure("");
    programs.run(&["run"]).expect(0);
    assert!(programs.backups().iter().any(|file| file.ends_with(".x-test.zst.rot")), "{:?}", programs.backups());
    // Without the program, the stored bytes alone are compared.
    programs.run(&["verify", "--all"]).expect(0).omits("read to its end");
    let out = programs.env.path("out").display().to_string();
    let missing = programs.run(&["restore", "wiki", "--output", &out]).expect(1);
    missing.shows("encrypted with rot").shows("[decrypt.rot]").shows("by hand: tr b-za a-z");
    programs.run(&["rekey", "wiki"]).shows("have no headers");
    let decrypt = programs.script("open", "tr b-za a-z");
    configure(&format!("[decrypt.rot]\ntype = 'exec'\nprogram = ['{decrypt}']\n"));
    programs.run(&["check"]).expect(0).shows("[decrypt.rot] is on this host").omits("pg_archive").omits("scratch");
    programs.run(&["restore", "wiki", "--output", &out]).expect(0);
    assert_eq!(fs::read_to_string(&out).unwrap(), "the plaintext\n");
    // A program that fails proves no damage.
    let decrypt = programs.script("open", "cat >/dev/null; echo 'no secret key' >&2; exit 2");
    configure(&format!("[decrypt.rot]\ntype = 'exec'\nprogram = ['{decrypt}']\n"));
    programs.run(&["verify", "--all"]).expect(2).shows("no secret key").omits("damaged");
    // Nor does one that returns other bytes, such as with another key.
    let decrypt = programs.script("open", "tr b-za b-za");
    configure(&format!("[decrypt.rot]\ntype = 'exec'\nprogram = ['{decrypt}']\n"));
    programs.run(&["verify", "--all"]).expect(2).shows("returned other bytes than were encrypted");
    assert!(programs.run(&["restore", "wiki", "--output", &format!("{out}-2")]).code != Some(0));
    // An identity of age decrypts none of these backups.
    let identity = programs.env.path("identity.txt");
    finish(Command::new("age-keygen").arg("-o").arg(&identity)).expect(0);
    configure(&format!("[identity]\nfile = '{}'\n", identity.display()));
    programs.run(&["verify", "--all"]).expect(0).omits("read to its end");
    assert!(programs.backups().iter().all(|file| !file.contains(".damaged.")), "{:?}", programs.backups());
}

#[test]
fn archived_wal_is_encrypted_by_a_program() {
    let archive = ArchiveEnv::without_command(&Installation::system(), &[]);
    let script = |name: &str, body: &str| {
        let path = archive.env.path(name);
        fs::write(&path, format!("#!/bin/sh\nexport LC_ALL=C\n{body}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        path.display().to_string()
    };
    let seal = script("seal", "tr '\\000-\\377' '\\001-\\377\\000'");
    let open = script("open", "tr '\\001-\\377\\000' '\\000-\\377'");
    let encrypt = format!("{{ type = 'exec', extension = 'rot', undo = 'tr', program = ['{seal}'] }}");
    let configure = |more: &str| {
        let more = format!("[cluster.main.wal]\nship = ['local']\nencrypt = {encrypt}\n{more}");
        archive.configure_job(&Job { more: &more, ..Job::default() });
    };
    configure("");
    archive.env.cluster.psql("postgres", "create table t (i int); insert into t values (1)");
    let name = archive.switch();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{name}")]).expect(0);
    assert!(archive.archived("local").iter().all(|file| file.ends_with(".zst.rot")), "{:?}", archive.archived("local"));
    archive.longshore(&["verify", "main/wal"]).expect(2).shows("encrypted with rot").shows("[decrypt.rot]");
    configure(&format!("[decrypt.rot]\ntype = 'exec'\nprogram = ['{open}']\n"));
    archive.longshore(&["verify", "main/wal"]).expect(0).omits("damaged");
    archive.in_data_dir(&["wal", "fetch", &name, "pg_wal/RECOVERYXLOG"]).expect(0);
    let file = |name: &str| fs::read(archive.env.cluster.data_dir().join("pg_wal").join(name)).unwrap();
    assert!(file("RECOVERYXLOG") == file(&name), "another content was fetched");
}

#[test]
fn misbehaving_encryption_publishes_nothing() {
    let programs = Programs::new();
    for (body, expected) in [
        ("head -c 50000 | tr a-z b-za; echo 'key expired' >&2; exit 3", "key expired"),
        ("head -c 1000 | tr a-z b-za; exit 0", "its input"),
        ("tr a-z b-za; kill -9 $$", "signal 9"),
        ("tr a-z b-za; sleep 60 >&- 2>&- & exit 0", "left processes running"),
        ("cat >/dev/null", "wrote nothing"),
        ("cat", "wrote its input unchanged"),
        ("echo head; sleep 60", "made no progress"),
    ] {
        let program = programs.script("seal", body);
        let dump = programs.script("dump", "seq 100000");
        programs.configure(&format!("program = ['{dump}']"), "compression = { method = 'none' }");
        let path = programs.env.path("config.toml");
        let seal = format!(
            "{{ type = 'exec', extension = 'rot', undo = 'x', program = ['{program}'], stall_timeout = '1s' }}"
        );
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("{ type = 'none' }", &seal)).unwrap();
        programs.run(&["run"]).expect(2).shows(expected);
        assert_eq!(programs.backups(), [""; 0], "{body}");
        if !body.contains("head") {
            programs.run(&["check"]).expect(2).shows(expected);
        }
    }
}

#[test]
fn settings_of_encryption_are_checked() {
    let programs = Programs::new();
    let program = programs.script("seal", "tr a-z b-za");
    for (encrypt, decrypt, message) in [
        ("extension = 'age', undo = 'x'", "", "cannot have this name"),
        ("extension = '.gpg', undo = 'x'", "", "invalid name of an encryption"),
        ("extension = 'gpg', undo = ' '", "", "undo of an encryption"),
        ("extension = 'gpg'", "", "undo"),
        (
            "extension = 'gpg', undo = 'x'",
            "[decrypt.age]\ntype = 'exec'\nprogram = ['/bin/cat']",
            "cannot have this name",
        ),
        ("extension = 'gpg', undo = 'x'", "[decrypt.gpg]\ntype = 'age'", "type \"age\" is unknown"),
        ("extension = 'gpg', undo = 'x'", "[decrypt.gpg]\ntype = 'exec'", "program"),
    ] {
        programs.configure_script("echo x", decrypt);
        let path = programs.env.path("config.toml");
        let seal = format!("{{ type = 'exec', program = ['{program}'], {encrypt} }}");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("{ type = 'none' }", &seal)).unwrap();
        let output = programs.run(&["run"]);
        assert_eq!(output.code, Some(1), "{encrypt} {decrypt}: {output:?}");
        output.shows(message);
    }
}

#[test]
fn programs_are_found_in_the_plugin_dir() {
    let programs = Programs::new();
    let folder = programs.env.path("plugins");
    fs::create_dir(&folder).unwrap();
    let add = |name: &str, body: &str| fs::rename(programs.script(name, body), folder.join(name)).unwrap();
    add("dump-wiki", "echo the plaintext");
    add("seal", "tr a-z b-za");
    add("open", "tr b-za a-z");
    add("scan-all", "cat >/dev/null");
    add("restore-wiki", &format!("cat >'{}'", programs.env.path("restored").display()));
    let path = programs.env.path("config.toml");
    let more =
        "verify = [{ type = 'exec', program = ['scan-all'] }]\n[decrypt.rot]\ntype = 'exec'\nprogram = ['open']\n";
    let restore = "restore = ['restore-wiki'], drill = ['restore-wiki']";
    programs.configure(&format!("program = ['dump-wiki'], {restore}"), more);
    let seal = "{ type = 'exec', extension = 'rot', undo = 'tr', program = ['seal'] }";
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("{ type = 'none' }", seal)).unwrap();
    programs.run(&["run"]).expect(1).shows("absolute path").shows("plugin_dir");
    let configured = fs::read_to_string(&path).unwrap();
    programs.configure_top("plugin_dir = 'plugins'");
    programs.run(&["run"]).expect(1).shows("plugin_dir must be an absolute path");
    fs::write(&path, &configured).unwrap();
    programs.configure_top(&format!("plugin_dir = '{}'", folder.display()));
    programs.run(&["check"]).expect(0);
    programs.run(&["run"]).expect(0);
    programs.run(&["verify", "--all"]).expect(0).shows("program scan-all");
    programs.run(&["restore", "wiki", "--program"]).expect(0);
    assert_eq!(fs::read_to_string(programs.env.path("restored")).unwrap(), "the plaintext\n");
    programs.run(&["drill"]).expect(0);
    expect_protected(&programs, &folder);

    // `plugin test` finds a name there, too, and never in the working directory.
    let skeleton = folder.join("store");
    programs.run(&["plugin", "new", "--language", "sh", skeleton.to_str().unwrap()]).expect(0);
    let objects = programs.env.path("objects");
    fs::create_dir(&objects).unwrap();
    let setting = format!("path={}", objects.display());
    programs.run(&["plugin", "test", "store", "--setting", &setting, "--hello-timeout", "60s"]).expect(0);
    let missing = programs.run(&["plugin", "test", "dump"]);
    assert_ne!(missing.code, Some(0));
    missing.shows(folder.join("dump").to_str().unwrap());
}

/// Expects that a folder to which others can write is refused.
fn expect_protected(programs: &Programs, folder: &Path) {
    for mode in [0o770, 0o707] {
        fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
        programs.run(&["check"]).expect(2).shows("is writable by other users");
        programs.run(&["run"]).expect(6).shows("is writable by other users");
        fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn program_must_introduce_itself_in_time() {
    let programs = Programs::new();
    let hello = r#"{"type":"hello","protocol":"longshore-exec/1","name":"x","roles":["dump"]}"#;
    let body = format!(
        "read -r _ <&3; sleep 2; echo '{hello}' >&3; read -r _ <&3; printf half; echo '{{\"type\":\"done\",\"bytes_out\":4}}' >&3"
    );
    let program = programs.script("dump", &body);
    let configure =
        |more: &str| programs.configure(&format!("program = ['{program}'], protocol = 'longshore-exec/1'{more}"), "");
    configure(", hello_timeout = '1s'");
    programs.run(&["run"]).expect(2).shows("sent no hello within 1 s").shows("raise hello_timeout");
    configure(", hello_timeout = '60s'");
    programs.run(&["run"]).expect(0);
}
