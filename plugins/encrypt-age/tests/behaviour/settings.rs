//! Settings: accepted values, and errors for all others.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_core::check::Outcome;
use longshore_core::plugin::{Identities, Passphrase, Plugin};
use longshore_core::stage::{Decrypt, Encrypt};
use longshore_core::{Error, Kind, Stage};
use longshore_encrypt_age::{Age, Opener};
use secrecy::ExposeSecret;

use crate::support::{Folder, open, opener, seal, sealer, sealer_for};

const TAGPQ: &str = include_str!("tagpq-recipient.txt");

fn refusal(settings: &str) -> Error {
    let error = match sealer(settings) {
        Ok(_) => panic!("built from {settings}"),
        Err(error) => error,
    };
    assert_eq!((error.stage(), error.kind()), (Stage::Config, Kind::Usage), "{error}");
    error
}

/// Returns all parts of an error that a user would see.
fn shown(error: &Error) -> String {
    format!("{}\n{}\n{error:?}", error.chain(), error.remedy().unwrap_or_default())
}

#[test]
fn no_recipient_at_all_is_refused() {
    let folder = Folder::new();
    let empty = folder.write("empty.txt", "# none yet\n\n");
    for settings in ["", "recipients = []", "recipients_file = []"] {
        assert!(refusal(settings).to_string().contains("no recipient"));
    }
    let error = refusal(&format!("recipients_file = '{}'", empty.display()));
    assert!(error.subject().ends_with("empty.txt"), "{error}");
    assert!(error.remedy().is_some());
    refusal("recipients = ['']");
    refusal("recipients_file = '/nowhere/recipients.txt'");
}

#[test]
fn a_typo_is_refused_and_its_place_named() {
    let folder = Folder::new();
    let (_, recipient) = folder.identity("key.txt");
    let typo = recipient.replace(&recipient[20..22], "00");
    let error = refusal(&format!("recipients = ['{recipient}', '{typo}']"));
    assert_eq!(error.subject(), "recipients, number 2");
    assert!(error.to_string().contains(&typo[..24]), "{error}");
    assert!(error.remedy().is_some());

    let file = folder.write("recipients.txt", format!("# ours\n{recipient}\n\n{typo}\n"));
    let error = refusal(&format!("recipients_file = '{}'", file.display()));
    assert!(error.subject().ends_with("recipients.txt:4"), "{error}");
}

#[test]
fn an_identity_in_place_of_a_recipient_is_refused_and_not_shown() {
    let folder = Folder::new();
    let made = longshore_encrypt_age::generate();
    let secret = made.file.expose_secret().lines().last().unwrap();
    let file = folder.write("key.txt", made.file.expose_secret());
    let (ssh_file, _) = folder.ssh_key("ssh", &["-t", "ed25519", "-N", ""]);
    let ssh_secret = fs::read_to_string(&ssh_file).unwrap().lines().nth(2).unwrap().to_owned();
    for settings in [
        format!("recipients = ['{secret}']"),
        format!("recipients = ['{}']", &secret[..40]),
        format!("recipients = ['{}']", secret.to_lowercase()),
        format!("recipients_file = '{}'", file.display()),
        format!("recipients_file = '{}'", ssh_file.display()),
    ] {
        let shown = shown(&refusal(&settings));
        assert!(shown.contains("identity"), "{shown}");
        assert!(!shown.to_uppercase().contains(&secret[20..30]), "{shown}");
        assert!(!shown.contains(&ssh_secret), "{shown}");
    }
}

#[test]
fn a_passphrase_goes_with_nothing_else() {
    let folder = Folder::new();
    let (_, recipient) = folder.identity("key.txt");
    let file = folder.write("passphrase", "correct horse\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = format!("passphrase_file = '{}'\nrecipients = ['{recipient}']", file.display());
    assert!(refusal(&settings).to_string().contains("cannot be combined"));
    let settings = format!("passphrase_file = '{0}'\nrecipients_file = '{0}'", file.display());
    assert!(refusal(&settings).to_string().contains("cannot be combined"));
}

#[test]
fn a_passphrase_that_others_may_read_or_that_is_empty_is_refused() {
    let folder = Folder::new();
    let file = folder.write("passphrase", "correct horse\n");
    let settings = format!("passphrase_file = '{}'", file.display());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    let error = refusal(&settings);
    assert!(error.remedy().unwrap().contains("chmod 600"), "{error}");
    assert!(!shown(&error).contains("correct horse"));
    for content in ["", "\n", "\nsecond line\n"] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refusal(&settings).to_string().contains("empty"));
    }
    refusal("passphrase_file = '/nowhere/passphrase'");
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    let error = refusal("recipients = ['age1fake1vehhygr5v4ehguc8xryk9']");
    assert!(error.to_string().contains("age-plugin-fake"), "{error}");
    let error = refusal("recipients = ['age1pq1vehhygr5v4ehguc7u5y5y']");
    assert!(error.to_string().contains("age-plugin-pq"), "{error}");
    assert!(error.remedy().unwrap().contains("age 1.3"));
}

#[test]
fn unknown_settings_are_refused() {
    assert!(toml::from_str::<Age>("recipient = 'age1'").is_err());
    assert!(toml::from_str::<Opener>("identity = 'key.txt'").is_err());
    let error = toml::from_str::<Age>("recipients_file = 5").err().unwrap().to_string();
    assert!(error.contains("a path or a list of paths"), "{error}");
}

#[test]
fn both_halves_have_one_name() {
    assert_eq!(<Age as Plugin<dyn Encrypt>>::TYPE, "age");
    assert_eq!(<Opener as Plugin<dyn Decrypt>>::TYPE, "age");
    let folder = Folder::new();
    let (_, recipient) = folder.identity("key.txt");
    let sealer = sealer_for(&recipient);
    assert_eq!((sealer.name(), sealer.extension()), ("age", ".age"));
}

#[tokio::test]
async fn a_recipient_given_twice_counts_once() {
    let folder = Folder::new();
    let (identity, recipient) = folder.identity("key.txt");
    let sealer = sealer(&format!("recipients = ['{recipient}', ' {recipient} ']")).unwrap();
    assert_eq!(sealer.recipients().len(), 1);
    let sealed = seal(&*sealer, b"cargo").await;
    assert_eq!(open(&*opener(&[&identity]), &sealed).await.unwrap(), b"cargo");
}

#[test]
fn post_quantum_recipients_are_not_mixed_with_others() {
    let folder = Folder::new();
    let (_, recipient) = folder.identity("key.txt");
    let error = refusal(&format!("recipients = ['{}', '{recipient}']", TAGPQ.trim()));
    assert!(error.to_string().contains("post-quantum"), "{error}");
}

#[tokio::test]
async fn a_check_counts_the_recipients() {
    let folder = Folder::new();
    let [(_, one), (_, other)] = ["one", "other"].map(|name| folder.identity(name));
    let (_, ssh) = folder.ssh_key("ssh", &["-t", "ed25519", "-N", ""]);
    let sealer = sealer(&format!("recipients = ['{one}', '{ssh}', '{other}']")).unwrap();
    let findings = sealer.check().await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].outcome, Outcome::Good);
    assert_eq!(findings[0].message, "encrypts for 3 recipients: 2 X25519, 1 ssh-ed25519");

    let findings = sealer_for(TAGPQ.trim()).check().await;
    assert_eq!(findings[0].message, "encrypts for 1 recipient: 1 tagpq");
}

#[tokio::test]
async fn a_check_warns_of_a_passphrase_on_the_host() {
    let folder = Folder::new();
    let file = folder.write("passphrase", "correct horse\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let sealer = sealer(&format!("passphrase_file = '{}'", file.display())).unwrap();
    assert_eq!(sealer.check().await[0].outcome, Outcome::Warning);
}

#[test]
fn an_opener_needs_no_identity_to_be_built() {
    let context = Identities {
        texts: Vec::new(),
        files: Vec::new(),
        passphrase: Passphrase::AskFor,
        ask: std::sync::Arc::new(crate::support::Answers::none()),
    };
    assert!(Opener::default().build(&context).is_ok());
}
