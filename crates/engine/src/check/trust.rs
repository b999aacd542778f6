//! Checks of the signing key and of the trusted keys.

use std::path::Path;

use chrono::{TimeDelta, Utc};
use longshore_config::Config;
use longshore_core::check::Finding;
use longshore_core::credential;
use longshore_core::key::Key;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_trust::allowed_signers::{AllowedSigners, Claim, Verified};
use longshore_trust::role::{ROLES, Role};
use longshore_trust::signing_key::{External, SigningKey};

/// The time before the end of a key's validity from which a check warns.
const WARNING_TIME: TimeDelta = TimeDelta::days(30);

/// Checks that this host can sign its records, that it trusts its own key, and that no destination
/// can change the trusted keys.
pub(super) async fn check_trust(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = match config.trust.signing_key() {
        Ok(key) => key,
        Err(error) => {
            findings.push(Finding::failed("signing", &error));
            None
        }
    };
    if let Some(key) = &key {
        findings.push(match sign_probe(config).await {
            Ok(()) => Finding::good("signing", format!("signs records with {}", description(key))),
            Err(error) => Finding::failed("signing", &error),
        });
    }
    match config.trust.signers() {
        Ok(None) => {}
        Ok(Some(signers)) => {
            let keys = if signers.len() == 1 { "1 key".to_owned() } else { format!("{} keys", signers.len()) };
            let required =
                if config.trust.required { "signatures are required" } else { "signatures are not required" };
            findings.push(Finding::good("trust", format!("{keys}; {required}")));
            findings.extend(key.iter().filter_map(|key| check_own_key(config, &signers, key)));
        }
        Err(error) => findings.push(Finding::failed("trust", &error)),
    }
    findings.extend(check_place(config));
    findings
}

/// Signs a manifest that is never stored.
async fn sign_probe(config: &Config) -> Result<()> {
    let Some(destination) = config.destinations.values().next() else { return Ok(()) };
    let store = destination.open()?;
    let Some(signatures) = store.capabilities().signatures else { return Ok(()) };
    // A manifest of now: the role and the validity of the key are checked, too.
    let time = Utc::now().format("%Y-%m-%d_%H%M%S");
    signatures.sign(&Key::parse(&format!("probe/probe/probe-{time}.json"))?, b"a probe").await.map(drop)
}

fn description(key: &SigningKey) -> String {
    let fingerprint = key.fingerprint();
    match key.external() {
        None => fingerprint,
        Some(External::Agent) => format!("{fingerprint}, in the agent"),
        Some(External::Token) => format!("{fingerprint}, in a token"),
    }
}

/// Checks what the own key may sign, by the file of trusted keys.
fn check_own_key(config: &Config, signers: &AllowedSigners, key: &SigningKey) -> Option<Finding> {
    let now = Utc::now();
    let claim = Claim { namespace: "longshore-manifest", time: now, roles: &[Role::Backup] };
    match signers.permit(key.public(), claim) {
        Verified::Signed { by, roles } => {
            if let Some(end) = signers.valid_until(key.public(), claim).filter(|end| *end - now < WARNING_TIME) {
                let message = format!("the key of {by} is valid only until {end}");
                return Some(Finding::warning("trust", message, "add a new key before that: longshore-trust(7)"));
            }
            let missing: Vec<&str> =
                ROLES.iter().filter(|role| !roles.contains(role)).map(|role| role.word()).collect();
            let prunes = config.jobs.values().any(|job| !job.retention.is_empty());
            if prunes && !roles.contains(&Role::Prune) {
                let message = format!("{by} has not the role prune, so this host cannot delete backups");
                return Some(Finding::warning(
                    "trust",
                    message,
                    "add the principal prune@… to the line of its key, or remove retention from its jobs",
                ));
            }
            let without = if missing.is_empty() {
                String::new()
            } else {
                format!(", without the role {}", missing.join(" and "))
            };
            Some(Finding::good("trust", format!("this host is {by}{without}")))
        }
        Verified::NotPermitted(why) | Verified::Bad(why) => {
            let message = format!("this host does not trust its own manifests: {why}");
            let remedy = format!("add this line to the file: {}", key.public_line("backup@HOST,drill@HOST,prune@HOST"));
            Some(match config.trust.required && !config.jobs.is_empty() {
                true => Finding::failed("trust", &Error::new(Stage::Trust, Kind::Refused, "", message).hint(remedy)),
                false => Finding::warning("trust", message, remedy),
            })
        }
    }
}

/// Checks that the trusted keys are not in a destination.
fn check_place(config: &Config) -> Option<Finding> {
    let file = credential::file(config.trust.allowed_signers.as_deref()?).ok()?.canonicalize().ok()?;
    let is_in = |folder: &Path| folder.canonicalize().is_ok_and(|folder| file.starts_with(folder));
    let inside = config
        .destinations
        .iter()
        .find(|(_, destination)| destination.open().is_ok_and(|store| store.capabilities().folder.is_some_and(is_in)));
    let (name, _) = inside?;
    let message =
        format!("{} is in destination \"{name}\", which could then choose whom this host trusts", file.display());
    let error = Error::new(Stage::Trust, Kind::Refused, "allowed_signers", message);
    Some(Finding::failed("trust", &error.hint("move the file to a folder that only root can change")))
}
