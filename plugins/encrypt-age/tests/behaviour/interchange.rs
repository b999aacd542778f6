//! Compatibility with age in both directions.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use longshore_core::Kind;
use secrecy::ExposeSecret;

use crate::support::{
    Answers, CHUNK, Folder, collected, in_chunks, noise, open, opener, opener_asking, run, seal, sealer, sealer_for,
};

const LENGTHS: [usize; 9] = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 4 * CHUNK - 1, 4 * CHUNK + 1, 3_000_000];

#[tokio::test]
async fn what_we_seal_age_opens() {
    let folder = Folder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let sealer = sealer_for(&recipient);
    for length in LENGTHS {
        let sealed = seal(&*sealer, &noise(length)).await;
        assert!(folder.age_opens(&identity, &sealed) == Ok(noise(length)), "{length} bytes");
    }
}

#[tokio::test]
async fn what_age_seals_we_open() {
    let folder = Folder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let opener = opener(&[&identity]);
    for length in LENGTHS {
        let sealed = folder.age_seals(&["-r", &recipient], &noise(length));
        assert!(open(&*opener, &sealed).await.unwrap() == noise(length), "{length} bytes");
    }
}

/// Covers input in chunks that do not match age's chunks, and in empty chunks.
#[tokio::test]
async fn what_comes_in_any_chunks_is_sealed_and_opened() {
    let folder = Folder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let (sealer, opener) = (sealer_for(&recipient), opener(&[&identity]));
    let plaintext = noise(900_001);
    for length in [1000, CHUNK - 1, CHUNK + 1, CHUNK + 16, 4 * CHUNK + 7] {
        let sealed = collected(sealer.encrypt(in_chunks(&plaintext, length), "here")).await;
        assert!(folder.age_opens(&identity, &sealed) == Ok(plaintext.clone()), "encrypted in chunks of {length}");
        let opened = opener.decrypt(in_chunks(&sealed, length), "here").await.unwrap();
        assert!(collected(opened).await == plaintext, "decrypted in chunks of {length}");
    }
}

#[tokio::test]
async fn an_armored_file_is_opened() {
    let folder = Folder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let opener = opener(&[&identity]);
    for length in LENGTHS {
        let sealed = folder.age_seals(&["-a", "-r", &recipient], &noise(length));
        assert!(sealed.starts_with(b"-----BEGIN AGE"));
        assert!(open(&*opener, &sealed).await.unwrap() == noise(length), "{length} bytes");
    }
}

#[tokio::test]
async fn each_recipient_opens_it() {
    let folder = Folder::new();
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
    let sealer = sealer(&settings).unwrap();
    assert_eq!(sealer.recipients().len(), 5);
    let sealed = seal(&*sealer, b"cargo").await;
    for identity in keys.iter().map(|(identity, _)| identity).chain([&ssh_identity]) {
        assert_eq!(open(&*opener(&[identity]), &sealed).await.unwrap(), b"cargo");
        assert_eq!(folder.age_opens(identity, &sealed).unwrap(), b"cargo");
    }
}

#[tokio::test]
async fn what_age_seals_for_several_any_of_them_opens() {
    let folder = Folder::new();
    let (mine, my_recipient) = folder.identity("mine");
    let (_, other_recipient) = folder.identity("other");
    let sealed = folder.age_seals(&["-r", &other_recipient, "-r", &my_recipient], b"cargo");
    assert_eq!(open(&*opener(&[&mine]), &sealed).await.unwrap(), b"cargo");
}

#[tokio::test]
async fn the_right_identity_is_found_among_others() {
    let folder = Folder::new();
    let [wrong, (right, recipient)] = ["wrong", "right"].map(|name| folder.identity(name));
    let (ssh, _) = folder.ssh_key("ssh", &["-t", "ed25519", "-N", ""]);
    let sealed = seal(&*sealer_for(&recipient), b"cargo").await;
    let opener = opener(&[&wrong.0, &ssh, &right]);
    assert_eq!(open(&*opener, &sealed).await.unwrap(), b"cargo");
}

#[tokio::test]
async fn ssh_keys_seal_and_open_both_ways() {
    let folder = Folder::new();
    for (name, options) in [
        ("ed25519", &["-t", "ed25519", "-N", ""][..]),
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ("pem", &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"]),
    ] {
        let (identity, recipient) = folder.ssh_key(name, options);
        let ours = seal(&*sealer_for(&recipient), b"cargo").await;
        assert_eq!(folder.age_opens(&identity, &ours).unwrap(), b"cargo", "{name}");
        let theirs = folder.age_seals(&["-r", &recipient], b"cargo");
        assert_eq!(open(&*opener(&[&identity]), &theirs).await.unwrap(), b"cargo", "{name}");
    }
}

#[tokio::test]
async fn an_identity_of_age_keygen_opens() {
    let folder = Folder::new();
    let identity = folder.path("key.txt");
    run("age-keygen", &["-o", identity.to_str().unwrap()]).unwrap();
    let recipient = run("age-keygen", &["-y", identity.to_str().unwrap()]).unwrap();
    let recipient = String::from_utf8(recipient).unwrap();
    let sealed = seal(&*sealer_for(recipient.trim()), b"cargo").await;
    assert_eq!(open(&*opener(&[&identity]), &sealed).await.unwrap(), b"cargo");
}

#[test]
fn a_generated_identity_looks_like_one_of_age_keygen() {
    let made = longshore_encrypt_age::generate();
    let lines: Vec<_> = made.file.expose_secret().lines().collect();
    assert!(lines[0].starts_with("# created: 20"), "{}", lines[0]);
    assert_eq!(lines[1], format!("# public key: {}", made.recipient));
    assert!(lines[2].starts_with("AGE-SECRET-KEY-1") && lines.len() == 3);

    let folder = Folder::new();
    let file = folder.write("key.txt", made.file.expose_secret());
    let printed = run("age-keygen", &["-y", file.to_str().unwrap()]).unwrap();
    assert_eq!(String::from_utf8(printed).unwrap().trim(), made.recipient);
}

#[tokio::test]
async fn many_streams_are_sealed_and_opened_at_once() {
    let folder = Folder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let (sealer, opener) = (sealer_for(&recipient), opener(&[&identity]));
    let lengths = [900_000, 10, 2_000_000, 0];
    let sealed = join_all(lengths.map(|length| {
        let sealer = &sealer;
        async move { seal(&**sealer, &noise(length)).await }
    }));
    let sealed = sealed.await;
    let opened = join_all(sealed.iter().map(|sealed| open(&*opener, sealed))).await;
    for (opened, length) in opened.into_iter().zip(lengths) {
        assert!(opened.unwrap() == noise(length), "{length} bytes");
    }
}

#[tokio::test]
async fn a_passphrase_seals_and_opens_and_is_asked_for_once() {
    let folder = Folder::new();
    let file = folder.write("passphrase", "correct horse\nsomething else\n");
    private(&file);
    let sealer = sealer(&format!("passphrase_file = '{}'", file.display())).unwrap();
    assert_eq!(sealer.recipients(), ["passphrase"]);
    let sealed = seal(&*sealer, b"cargo").await;
    assert!(sealed.starts_with(b"age-encryption.org/v1\n-> scrypt "));

    // The opener also has an unrelated identity.
    let (identity, _) = folder.identity("key.txt");
    let answers = Answers::always("correct horse");
    let opener = opener_asking(&[&identity], &answers).unwrap();
    let both = join_all([open(&*opener, &sealed), open(&*opener, &sealed)]).await;
    assert!(both.into_iter().all(|opened| opened.unwrap() == b"cargo"));
    assert_eq!(answers.asked(), 1);

    let wrong = opener_asking(&[], &Answers::always("wrong horse")).unwrap();
    let error = open(&*wrong, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("passphrase"), "{error}");

    let nobody = opener_asking(&[], &std::sync::Arc::new(Answers::none())).unwrap();
    let error = open(&*nobody, &sealed).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.remedy().unwrap().contains("LONGSHORE_IDENTITY_PASSPHRASE"));
}

#[tokio::test]
async fn age_and_we_share_passphrases() {
    let folder = Folder::new();
    let file = folder.write("passphrase", "correct horse");
    private(&file);
    let sealer = sealer(&format!("passphrase_file = '{}'", file.display())).unwrap();
    let sealed = folder.write("ours.age", seal(&*sealer, b"cargo").await);
    let opened = folder.path("opened");
    on_a_terminal(&format!("age -d -o {} {}", opened.display(), sealed.display()), 1);
    assert_eq!(fs::read(opened).unwrap(), b"cargo");

    let (plain, sealed) = (folder.write("plain", b"freight"), folder.path("theirs.age"));
    on_a_terminal(&format!("age -p -o {} {}", sealed.display(), plain.display()), 2);
    let opener = opener_asking(&[], &Answers::always("correct horse")).unwrap();
    let opened = open(&*opener, &fs::read(sealed).unwrap()).await.unwrap();
    assert_eq!(opened, b"freight");
}

/// Runs a command that asks for a passphrase, and answers it `times` times.
fn on_a_terminal(command: &str, times: usize) {
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
