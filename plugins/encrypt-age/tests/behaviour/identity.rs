//! Identity files: the accepted kinds, and the errors for all others before anything is fetched.

use std::io::Write;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use age::armor::{ArmoredWriter, Format};
use longshore_core::{Error, Kind, Stage};
use secrecy::{ExposeSecret, SecretString};

use crate::support::{FixedAnswer, TestFolder, decrypter_with_prompt, encrypter_for, open, seal};

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

fn config_error(file: &Path, ask: &Arc<FixedAnswer>) -> Error {
    let error = match decrypter_with_prompt(&[file], ask) {
        Ok(_) => panic!("{} was accepted as an identity file", file.display()),
        Err(error) => error,
    };
    assert_eq!(error.stage(), Stage::Decrypt);
    assert_eq!(error.subject(), file.display().to_string());
    error
}

#[tokio::test]
async fn opens_protected_identity_file_with_passphrase() {
    let folder = TestFolder::new();
    let generated = longshore_encrypt_age::generate();
    let sealed = seal(&*encrypter_for(&generated.recipient), b"cargo").await;
    for format in [Format::Binary, Format::AsciiArmor] {
        let file = folder.write("key.age", protect(generated.file.expose_secret(), "correct horse", format));
        let prompt = FixedAnswer::always("correct horse");
        let decrypter = decrypter_with_prompt(&[&file], &prompt).unwrap();
        assert_eq!(open(&*decrypter, &sealed).await.unwrap(), b"cargo");
        assert_eq!(open(&*decrypter, &sealed).await.unwrap(), b"cargo");
        assert_eq!(prompt.asked(), 1);

        assert_eq!(config_error(&file, &FixedAnswer::always("wrong horse")).kind(), Kind::Denied);
        let error = config_error(&file, &Arc::new(FixedAnswer::none()));
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.remedy().unwrap().contains("LONGSHORE_IDENTITY_PASSPHRASE"));
    }
}

#[tokio::test]
async fn opens_protected_ssh_key_with_passphrase() {
    let folder = TestFolder::new();
    for (name, kind) in [("ed25519", "ed25519"), ("rsa", "rsa")] {
        let (file, recipient) = folder.ssh_key(name, &["-t", kind, "-N", "correct horse"]);
        let sealed = folder.age_seals(&["-r", &recipient], b"cargo");
        let decrypter = decrypter_with_prompt(&[&file], &FixedAnswer::always("correct horse")).unwrap();
        assert_eq!(open(&*decrypter, &sealed).await.unwrap(), b"cargo");
        assert_eq!(config_error(&file, &FixedAnswer::always("wrong horse")).kind(), Kind::Denied);
        assert_eq!(config_error(&file, &Arc::new(FixedAnswer::none())).kind(), Kind::Usage);
    }
}

#[test]
fn errors_name_identity_file_but_never_quote_it() {
    let folder = TestFolder::new();
    let no_prompt = Arc::new(FixedAnswer::none());
    let generated = longshore_encrypt_age::generate();
    let text = generated.file.expose_secret();
    let secret = text.lines().last().unwrap();
    let typo = text.replace(&secret[30..34], "BBBB");
    for (content, expected) in [
        (typo, "line 3 is an identity that was mistyped"),
        (format!("{text}{}\n", generated.recipient), "line 4 is a recipient"),
        ("AGE-SECRET-KEY-PQ-1QQQQ".to_owned(), "line 1 is a post-quantum identity"),
        (format!("x{secret}"), "line 1 is not an identity"),
        ("# nothing\n".to_owned(), "no identity in this file"),
        (String::new(), "no identity in this file"),
        ("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n".to_owned(), "unreadable private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnN".to_owned(), "unreadable private key"),
    ] {
        let error = config_error(&folder.write("key.txt", content), &no_prompt);
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.chain().contains(&secret[20..28]), "{error}");
        assert!(error.remedy().is_some(), "{error}");
    }
    assert_eq!(config_error(&folder.write("key.txt", [0xff, 0x00]), &no_prompt).kind(), Kind::Usage);
    assert_eq!(config_error(&folder.path("missing.txt"), &no_prompt).kind(), Kind::NotFound);
}

#[test]
fn rejects_unsupported_ssh_keys() {
    let folder = TestFolder::new();
    let (file, _) = folder.ssh_key("ecdsa", &["-t", "ecdsa", "-N", ""]);
    let error = config_error(&file, &Arc::new(FixedAnswer::none()));
    assert!(error.to_string().contains("ecdsa"), "{error}");
    let (file, _) = folder.ssh_key("pem", &["-t", "rsa", "-b", "2048", "-N", "correct horse", "-m", "PEM"]);
    let error = config_error(&file, &Arc::new(FixedAnswer::none()));
    assert!(error.remedy().unwrap().contains("ssh-keygen -p"), "{error}");
}

#[tokio::test]
async fn truncated_identity_file_is_corrupt() {
    let folder = TestFolder::new();
    let generated = longshore_encrypt_age::generate();
    let prompt = FixedAnswer::always("correct horse");
    let whole = protect(generated.file.expose_secret(), "correct horse", Format::Binary);
    let cut = folder.write("cut.age", &whole[..whole.len() - 1]);
    assert_eq!(config_error(&cut, &prompt).kind(), Kind::Corrupt);

    let for_recipient = folder.write("sealed.age", seal(&*encrypter_for(&generated.recipient), b"x").await);
    assert_eq!(config_error(&for_recipient, &prompt).kind(), Kind::Usage);
}
