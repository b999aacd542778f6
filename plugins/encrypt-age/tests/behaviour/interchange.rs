//! Compatibility with age in both directions.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use longshore_core::Kind;
use secrecy::ExposeSecret;

use crate::support::{
    CHUNK, FixedAnswer, TestFolder, collected, decrypter, decrypter_with_prompt, encrypter, encrypter_for, in_chunks,
    open, random_bytes, run, seal,
};

const LENGTHS: [usize; 9] = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 4 * CHUNK - 1, 4 * CHUNK + 1, 3_000_000];

#[tokio::test]
async fn age_decrypts_our_files() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let encrypter = encrypter_for(&recipient);
    for length in LENGTHS {
        let sealed = seal(&*encrypter, &random_bytes(length)).await;
        assert!(folder.age_opens(&identity, &sealed) == Ok(random_bytes(length)), "{length} bytes");
    }
}

#[tokio::test]
async fn decrypts_files_of_age() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let decrypter = decrypter(&[&identity]);
    for length in LENGTHS {
        let sealed = folder.age_seals(&["-r", &recipient], &random_bytes(length));
        assert!(open(&*decrypter, &sealed).await.unwrap() == random_bytes(length), "{length} bytes");
    }
}

/// Covers input in chunks that do not match age's chunks, and in empty chunks.
#[tokio::test]
async fn accepts_chunks_of_any_size() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let (encrypter, decrypter) = (encrypter_for(&recipient), decrypter(&[&identity]));
    let plaintext = random_bytes(900_001);
    for length in [1000, CHUNK - 1, CHUNK + 1, CHUNK + 16, 4 * CHUNK + 7] {
        let sealed = collected(encrypter.encrypt(in_chunks(&plaintext, length), "here")).await;
        assert!(folder.age_opens(&identity, &sealed) == Ok(plaintext.clone()), "encrypted in chunks of {length}");
        let opened = decrypter.decrypt(in_chunks(&sealed, length), "here").await.unwrap();
        assert!(collected(opened).await == plaintext, "decrypted in chunks of {length}");
    }
}

#[tokio::test]
async fn decrypts_armored_files() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let decrypter = decrypter(&[&identity]);
    for length in LENGTHS {
        let sealed = folder.age_seals(&["-a", "-r", &recipient], &random_bytes(length));
        assert!(sealed.starts_with(b"-----BEGIN AGE"));
        assert!(open(&*decrypter, &sealed).await.unwrap() == random_bytes(length), "{length} bytes");
    }
}

#[tokio::test]
async fn each_recipient_can_decrypt() {
    let folder = TestFolder::new();
    let keys = ["a", "b", "c", "d"].map(|name| folder.identity(name));
    let (ssh_identity, ssh_recipient) = folder.ssh_key("e", &["-t", "ed25519", "-N", ""]);
    let one = folder.write("one.txt", format!("# the office\n\n  {}  \n", keys[2].1));
    let other = folder.write("other.txt", format!("{}\r\n{}", keys[3].1, ssh_recipient));
    let settings = format!(
        "recipients = ['{}', '{}']\nrecipients_file = ['{}', '{}']",
        keys[0].1,
        keys[1].1,
        one.display(),
        other.display()
    );
    let encrypter = encrypter(&settings).unwrap();
    assert_eq!(encrypter.recipients().len(), 5);
    let sealed = seal(&*encrypter, b"cargo").await;
    for identity in keys.iter().map(|(identity, _)| identity).chain([&ssh_identity]) {
        assert_eq!(open(&*decrypter(&[identity]), &sealed).await.unwrap(), b"cargo");
        assert_eq!(folder.age_opens(identity, &sealed).unwrap(), b"cargo");
    }
}

#[tokio::test]
async fn decrypts_file_of_age_for_several_recipients() {
    let folder = TestFolder::new();
    let (mine, my_recipient) = folder.identity("mine");
    let (_, other_recipient) = folder.identity("other");
    let sealed = folder.age_seals(&["-r", &other_recipient, "-r", &my_recipient], b"cargo");
    assert_eq!(open(&*decrypter(&[&mine]), &sealed).await.unwrap(), b"cargo");
}

#[tokio::test]
async fn finds_right_identity_among_others() {
    let folder = TestFolder::new();
    let [wrong, (right, recipient)] = ["wrong", "right"].map(|name| folder.identity(name));
    let (ssh, _) = folder.ssh_key("ssh", &["-t", "ed25519", "-N", ""]);
    let sealed = seal(&*encrypter_for(&recipient), b"cargo").await;
    let decrypter = decrypter(&[&wrong.0, &ssh, &right]);
    assert_eq!(open(&*decrypter, &sealed).await.unwrap(), b"cargo");
}

#[tokio::test]
async fn ssh_keys_work_in_both_directions() {
    let folder = TestFolder::new();
    for (name, options) in [
        ("ed25519", &["-t", "ed25519", "-N", ""][..]),
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ("pem", &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"]),
    ] {
        let (identity, recipient) = folder.ssh_key(name, options);
        let ours = seal(&*encrypter_for(&recipient), b"cargo").await;
        assert_eq!(folder.age_opens(&identity, &ours).unwrap(), b"cargo", "{name}");
        let theirs = folder.age_seals(&["-r", &recipient], b"cargo");
        assert_eq!(open(&*decrypter(&[&identity]), &theirs).await.unwrap(), b"cargo", "{name}");
    }
}

#[tokio::test]
async fn decrypts_with_identity_of_age_keygen() {
    let folder = TestFolder::new();
    let identity = folder.path("key.txt");
    run("age-keygen", &["-o", identity.to_str().unwrap()]).unwrap();
    let recipient = run("age-keygen", &["-y", identity.to_str().unwrap()]).unwrap();
    let recipient = String::from_utf8(recipient).unwrap();
    let sealed = seal(&*encrypter_for(recipient.trim()), b"cargo").await;
    assert_eq!(open(&*decrypter(&[&identity]), &sealed).await.unwrap(), b"cargo");
}

#[test]
fn generated_identity_equals_format_of_age_keygen() {
    let generated = longshore_encrypt_age::generate();
    let lines: Vec<_> = generated.file.expose_secret().lines().collect();
    assert!(lines[0].starts_with("# created: 20"), "{}", lines[0]);
    assert_eq!(lines[1], format!("# public key: {}", generated.recipient));
    assert!(lines[2].starts_with("AGE-SECRET-KEY-1") && lines.len() == 3);

    let folder = TestFolder::new();
    let file = folder.write("key.txt", generated.file.expose_secret());
    let printed = run("age-keygen", &["-y", file.to_str().unwrap()]).unwrap();
    assert_eq!(String::from_utf8(printed).unwrap().trim(), generated.recipient);
}

#[tokio::test]
async fn concurrent_streams_are_independent() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let (encrypter, decrypter) = (encrypter_for(&recipient), decrypter(&[&identity]));
    let lengths = [900_000, 10, 2_000_000, 0];
    let sealed = join_all(lengths.map(|length| {
        let encrypter = &encrypter;
        async move { seal(&**encrypter, &random_bytes(length)).await }
    }));
    let sealed = sealed.await;
    let opened = join_all(sealed.iter().map(|sealed| open(&*decrypter, sealed))).await;
    for (opened, length) in opened.into_iter().zip(lengths) {
        assert!(opened.unwrap() == random_bytes(length), "{length} bytes");
    }
}

#[tokio::test]
async fn passphrase_is_asked_for_once() {
    let folder = TestFolder::new();
    let file = folder.write("passphrase", "correct horse\nsomething else\n");
    private(&file);
    let encrypter = encrypter(&format!("passphrase_file = '{}'", file.display())).unwrap();
    assert_eq!(encrypter.recipients(), ["passphrase"]);
    let sealed = seal(&*encrypter, b"cargo").await;
    assert!(sealed.starts_with(b"age-encryption.org/v1\n-> scrypt "));

    // The decrypter also has an unrelated identity.
    let (identity, _) = folder.identity("key.txt");
    let prompt = FixedAnswer::always("correct horse");
    let decrypter = decrypter_with_prompt(&[&identity], &prompt).unwrap();
    let both = join_all([open(&*decrypter, &sealed), open(&*decrypter, &sealed)]).await;
    assert!(both.into_iter().all(|opened| opened.unwrap() == b"cargo"));
    assert_eq!(prompt.asked(), 1);

    let wrong = decrypter_with_prompt(&[], &FixedAnswer::always("wrong horse")).unwrap();
    let error = open(&*wrong, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("passphrase"), "{error}");

    let no_prompt = decrypter_with_prompt(&[], &std::sync::Arc::new(FixedAnswer::none())).unwrap();
    let error = open(&*no_prompt, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.remedy().unwrap().contains("LONGSHORE_IDENTITY_PASSPHRASE"));
}

#[tokio::test]
async fn passphrases_work_in_both_directions() {
    let folder = TestFolder::new();
    let file = folder.write("passphrase", "correct horse");
    private(&file);
    let encrypter = encrypter(&format!("passphrase_file = '{}'", file.display())).unwrap();
    let sealed = folder.write("ours.age", seal(&*encrypter, b"cargo").await);
    let opened = folder.path("opened");
    run_on_terminal(&format!("age -d -o {} {}", opened.display(), sealed.display()), 1);
    assert_eq!(fs::read(opened).unwrap(), b"cargo");

    let (plain, sealed) = (folder.write("plain", b"freight"), folder.path("theirs.age"));
    run_on_terminal(&format!("age -p -o {} {}", sealed.display(), plain.display()), 2);
    let decrypter = decrypter_with_prompt(&[], &FixedAnswer::always("correct horse")).unwrap();
    let opened = open(&*decrypter, &fs::read(sealed).unwrap()).await.unwrap();
    assert_eq!(opened, b"freight");
}

/// Runs a command that asks for a passphrase, and answers it `times` times.
fn run_on_terminal(command: &str, times: usize) {
    let mut script = Command::new("script")
        .args(["-qec", command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs script (Debian: apt install bsdutils): {error}"));
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all("correct horse\n".repeat(times).as_bytes()).unwrap();
    drop(keyboard);
    assert!(script.wait().unwrap().success(), "{command}");
}

fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
