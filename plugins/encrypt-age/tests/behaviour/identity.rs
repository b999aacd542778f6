//! Identity files: the accepted kinds, and the errors for all others before anything is fetched.

use std::io::Write;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use age::armor::{ArmoredWriter, Format};
use longshore_core::{Error, Kind, Stage};
use secrecy::{ExposeSecret, SecretString};

use crate::support::{Answers, Folder, open, opener_asking, seal, sealer_for};

/// Protects an identity file as `age -p` does, with less work.
fn protect(content: &str, passphrase: &str, format: Format) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase));
    recipient.set_work_factor(10);
    let encryptor = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let armor = ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
    let mut sealed = encryptor.wrap_output(armor).unwrap();
    sealed.write_all(content.as_bytes()).unwrap();
    sealed.finish().unwrap().finish().unwrap()
}

fn refusal(file: &Path, ask: &Arc<Answers>) -> Error {
    let error = match opener_asking(&[file], ask) {
        Ok(_) => panic!("{} was accepted as an identity file", file.display()),
        Err(error) => error,
    };
    assert_eq!(error.stage(), Stage::Decrypt);
    assert_eq!(error.subject(), file.display().to_string());
    error
}

#[tokio::test]
async fn a_protected_identity_file_opens_with_its_passphrase() {
    let folder = Folder::new();
    let made = longshore_encrypt_age::generate();
    let sealed = seal(&*sealer_for(&made.recipient), b"cargo").await;
    for format in [Format::Binary, Format::AsciiArmor] {
        let file = folder.write("key.age", protect(made.file.expose_secret(), "correct horse", format));
        let answers = Answers::always("correct horse");
        let opener = opener_asking(&[&file], &answers).unwrap();
        assert_eq!(open(&*opener, &sealed).await.unwrap(), b"cargo");
        assert_eq!(open(&*opener, &sealed).await.unwrap(), b"cargo");
        assert_eq!(answers.asked(), 1);

        assert_eq!(refusal(&file, &Answers::always("wrong horse")).kind(), Kind::Denied);
        let error = refusal(&file, &Arc::new(Answers::none()));
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.remedy().unwrap().contains("LONGSHORE_IDENTITY_PASSPHRASE"));
    }
}

#[tokio::test]
async fn a_protected_ssh_key_opens_with_its_passphrase() {
    let folder = Folder::new();
    for (name, kind) in [("ed25519", "ed25519"), ("rsa", "rsa")] {
        let (file, recipient) = folder.ssh_key(name, &["-t", kind, "-N", "correct horse"]);
        let sealed = folder.age_seals(&["-r", &recipient], b"cargo");
        let opener = opener_asking(&[&file], &Answers::always("correct horse")).unwrap();
        assert_eq!(open(&*opener, &sealed).await.unwrap(), b"cargo");
        assert_eq!(refusal(&file, &Answers::always("wrong horse")).kind(), Kind::Denied);
        assert_eq!(refusal(&file, &Arc::new(Answers::none())).kind(), Kind::Usage);
    }
}

#[test]
fn a_bad_identity_file_is_named_and_not_quoted() {
    let folder = Folder::new();
    let nobody = Arc::new(Answers::none());
    let made = longshore_encrypt_age::generate();
    let text = made.file.expose_secret();
    let secret = text.lines().last().unwrap();
    let typo = text.replace(&secret[30..34], "BBBB");
    for (content, said) in [
        (typo, "line 3 is an identity that was mistyped"),
        (format!("{text}{}\n", made.recipient), "line 4 is a recipient"),
        ("AGE-SECRET-KEY-PQ-1QQQQ".to_owned(), "line 1 is a post-quantum identity"),
        (format!("x{secret}"), "line 1 is not an identity"),
        ("# nothing\n".to_owned(), "no identity in this file"),
        (String::new(), "no identity in this file"),
        ("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n".to_owned(), "unreadable private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnN".to_owned(), "unreadable private key"),
    ] {
        let error = refusal(&folder.write("key.txt", content), &nobody);
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.chain().contains(&secret[20..28]), "{error}");
        assert!(error.remedy().is_some(), "{error}");
    }
    assert_eq!(refusal(&folder.write("key.txt", [0xff, 0x00]), &nobody).kind(), Kind::Usage);
    assert_eq!(refusal(&folder.path("missing.txt"), &nobody).kind(), Kind::NotFound);
}

#[test]
fn an_ssh_key_that_opens_nothing_is_refused() {
    let folder = Folder::new();
    let (file, _) = folder.ssh_key("ecdsa", &["-t", "ecdsa", "-N", ""]);
    let error = refusal(&file, &Arc::new(Answers::none()));
    assert!(error.to_string().contains("ecdsa"), "{error}");
    let (file, _) = folder.ssh_key("pem", &["-t", "rsa", "-b", "2048", "-N", "correct horse", "-m", "PEM"]);
    let error = refusal(&file, &Arc::new(Answers::none()));
    assert!(error.remedy().unwrap().contains("ssh-keygen -p"), "{error}");
}

#[tokio::test]
async fn an_identity_file_that_is_no_longer_whole_is_corrupt() {
    let folder = Folder::new();
    let made = longshore_encrypt_age::generate();
    let answers = Answers::always("correct horse");
    let whole = protect(made.file.expose_secret(), "correct horse", Format::Binary);
    let cut = folder.write("cut.age", &whole[..whole.len() - 1]);
    assert_eq!(refusal(&cut, &answers).kind(), Kind::Corrupt);

    let for_recipient = folder.write("sealed.age", seal(&*sealer_for(&made.recipient), b"x").await);
    assert_eq!(refusal(&for_recipient, &answers).kind(), Kind::Usage);
}
