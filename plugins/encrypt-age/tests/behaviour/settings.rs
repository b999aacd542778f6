//! Settings: accepted values, and errors for all others.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_core::check::Outcome;
use longshore_core::plugin::{Identities, Passphrase, Plugin};
use longshore_core::stage::{Decrypt, Encrypt};
use longshore_core::{Error, Kind, Stage};
use longshore_encrypt_age::{Age, AgeDecrypt};
use secrecy::ExposeSecret;

use crate::support::{TestFolder, decrypter, encrypter, encrypter_for, open, seal};

const TAGPQ: &str = include_str!("tagpq-recipient.txt");

fn config_error(settings: &str) -> Error {
    let error = match encrypter(settings) {
        Ok(_) => panic!("built from {settings}"),
        Err(error) => error,
    };
    assert_eq!((error.stage(), error.kind()), (Stage::Config, Kind::Usage), "{error}");
    error
}

/// Returns all parts of an error that a user would see.
fn all_text(error: &Error) -> String {
    format!("{}\n{}\n{error:?}", error.chain(), error.remedy().unwrap_or_default())
}

#[test]
fn rejects_settings_without_recipient() {
    let folder = TestFolder::new();
    let empty = folder.write("empty.txt", "# none yet\n\n");
    for settings in ["", "recipients = []", "recipients_file = []"] {
        assert!(config_error(settings).to_string().contains("no recipient"));
    }
    let error = config_error(&format!("recipients_file = '{}'", empty.display()));
    assert!(error.subject().ends_with("empty.txt"), "{error}");
    assert!(error.remedy().is_some());
    config_error("recipients = ['']");
    config_error("recipients_file = '/nowhere/recipients.txt'");
}

#[test]
fn error_names_place_of_mistyped_recipient() {
    let folder = TestFolder::new();
    let (_, recipient) = folder.identity("key.txt");
    let mut typo = recipient.clone();
    typo.replace_range(20..21, if recipient.as_bytes()[20] == b'q' { "p" } else { "q" });
    let error = config_error(&format!("recipients = ['{recipient}', '{typo}']"));
    assert_eq!(error.subject(), "recipients, number 2");
    assert!(error.to_string().contains(&typo[..24]), "{error}");
    assert!(error.remedy().is_some());

    let file = folder.write("recipients.txt", format!("# ours\n{recipient}\n\n{typo}\n"));
    let error = config_error(&format!("recipients_file = '{}'", file.display()));
    assert!(error.subject().ends_with("recipients.txt:4"), "{error}");
}

#[test]
fn identity_as_recipient_is_rejected_but_never_quoted() {
    let folder = TestFolder::new();
    let generated = longshore_encrypt_age::generate();
    let secret = generated.file.expose_secret().lines().last().unwrap();
    let file = folder.write("key.txt", generated.file.expose_secret());
    let (ssh_file, _) = folder.ssh_key("ssh", &["-t", "ed25519", "-N", ""]);
    let ssh_secret = fs::read_to_string(&ssh_file).unwrap().lines().nth(2).unwrap().to_owned();
    for settings in [
        format!("recipients = ['{secret}']"),
        format!("recipients = ['{}']", &secret[..40]),
        format!("recipients = ['{}']", secret.to_lowercase()),
        format!("recipients_file = '{}'", file.display()),
        format!("recipients_file = '{}'", ssh_file.display()),
    ] {
        let all_text = all_text(&config_error(&settings));
        assert!(all_text.contains("identity"), "{all_text}");
        assert!(!all_text.to_uppercase().contains(&secret[20..30]), "{all_text}");
        assert!(!all_text.contains(&ssh_secret), "{all_text}");
    }
}

#[test]
fn rejects_passphrase_with_recipients() {
    let folder = TestFolder::new();
    let (_, recipient) = folder.identity("key.txt");
    let file = folder.write("passphrase", "correct horse\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = format!("passphrase_file = '{}'\nrecipients = ['{recipient}']", file.display());
    assert!(config_error(&settings).to_string().contains("cannot be combined"));
    let settings = format!("passphrase_file = '{0}'\nrecipients_file = '{0}'", file.display());
    assert!(config_error(&settings).to_string().contains("cannot be combined"));
}

#[test]
fn rejects_world_readable_or_empty_passphrase() {
    let folder = TestFolder::new();
    let file = folder.write("passphrase", "correct horse\n");
    let settings = format!("passphrase_file = '{}'", file.display());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    let error = config_error(&settings);
    assert!(error.remedy().unwrap().contains("chmod 600"), "{error}");
    assert!(!all_text(&error).contains("correct horse"));
    for content in ["", "\n", "\nsecond line\n"] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(config_error(&settings).to_string().contains("empty"));
    }
    config_error("passphrase_file = '/nowhere/passphrase'");
}

#[test]
fn error_names_missing_plugin() {
    let error = config_error("recipients = ['age1fake1vehhygr5v4ehguc8xryk9']");
    assert!(error.to_string().contains("age-plugin-fake"), "{error}");
    let error = config_error("recipients = ['age1pq1vehhygr5v4ehguc7u5y5y']");
    assert!(error.to_string().contains("age-plugin-pq"), "{error}");
    assert!(error.remedy().unwrap().contains("age 1.3"));
}

#[test]
fn rejects_unknown_settings() {
    assert!(toml::from_str::<Age>("recipient = 'age1'").is_err());
    assert!(toml::from_str::<AgeDecrypt>("identity = 'key.txt'").is_err());
    let error = toml::from_str::<Age>("recipients_file = 5").err().unwrap().to_string();
    assert!(error.contains("a path or a list of paths"), "{error}");
}

#[test]
fn encryption_and_decryption_share_type_name() {
    assert_eq!(<Age as Plugin<dyn Encrypt>>::TYPE, "age");
    assert_eq!(<AgeDecrypt as Plugin<dyn Decrypt>>::TYPE, "age");
    let folder = TestFolder::new();
    let (_, recipient) = folder.identity("key.txt");
    let encrypter = encrypter_for(&recipient);
    assert_eq!((encrypter.name(), encrypter.extension()), ("age", ".age"));
}

#[tokio::test]
async fn counts_duplicate_recipient_once() {
    let folder = TestFolder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let encrypter = encrypter(&format!("recipients = ['{recipient}', ' {recipient} ']")).unwrap();
    assert_eq!(encrypter.recipients().len(), 1);
    let sealed = seal(&*encrypter, b"cargo").await;
    assert_eq!(open(&*decrypter(&[&identity]), &sealed).await.unwrap(), b"cargo");
}

#[test]
fn rejects_mixed_post_quantum_recipients() {
    let folder = TestFolder::new();
    let (_, recipient) = folder.identity("key.txt");
    let error = config_error(&format!("recipients = ['{}', '{recipient}']", TAGPQ.trim()));
    assert!(error.to_string().contains("post-quantum"), "{error}");
}

#[tokio::test]
async fn check_counts_recipients() {
    let folder = TestFolder::new();
    let [(_, one), (_, other)] = ["one", "other"].map(|name| folder.identity(name));
    let (_, ssh) = folder.ssh_key("ssh", &["-t", "ed25519", "-N", ""]);
    let encrypter = encrypter(&format!("recipients = ['{one}', '{ssh}', '{other}']")).unwrap();
    let findings = encrypter.check().await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].outcome, Outcome::Good);
    assert_eq!(findings[0].message, "encrypts for 3 recipients: 2 X25519, 1 ssh-ed25519");

    let findings = encrypter_for(TAGPQ.trim()).check().await;
    assert_eq!(findings[0].message, "encrypts for 1 recipient: 1 tagpq");
}

#[tokio::test]
async fn check_warns_about_passphrase_on_host() {
    let folder = TestFolder::new();
    let file = folder.write("passphrase", "correct horse\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let encrypter = encrypter(&format!("passphrase_file = '{}'", file.display())).unwrap();
    assert_eq!(encrypter.check().await[0].outcome, Outcome::Warning);
}

#[test]
fn builds_decrypter_without_identity() {
    let context = Identities {
        texts: Vec::new(),
        files: Vec::new(),
        passphrase: Passphrase::AskFor,
        ask: std::sync::Arc::new(crate::support::FixedAnswer::none()),
        programs: Default::default(),
    };
    assert!(AgeDecrypt::default().build(&context).is_ok());
}
