//! Files of allowed signers, as `ssh-keygen` reads them, and the verification of signatures by
//! them.
//!
//! ```text
//! backup@db1,drill@db1 namespaces="longshore-*" ssh-ed25519 AAAA… a comment
//! prune@vault valid-after="20260701Z" ssh-ed25519 AAAA…
//! ```

use std::fmt;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, TimeZone, Utc};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey, SshSig};

use crate::pattern;
use crate::role::{ROLES, Role};

/// The keys of a file, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    principals: Vec<String>,
    namespaces: Option<String>,
    valid_after: Option<DateTime<Utc>>,
    valid_before: Option<DateTime<Utc>>,
    key: PublicKey,
}

/// A line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// The number of the line, from 1.
    pub line: usize,
    /// The error.
    pub message: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The claim of a signature that is to be verified.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The namespace, such as `longshore-manifest`.
    pub namespace: &'a str,
    /// The time that the record states for itself.
    pub time: DateTime<Utc>,
    /// The roles of which the signer must have one.
    pub roles: &'a [Role],
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// A trusted key signed exactly these bytes, and may do so.
    Signed {
        /// The principal.
        by: String,
        /// All roles of the key at this time.
        roles: Vec<Role>,
    },
    /// A key signed exactly these bytes that may not do so: it is unknown, has another role, or was
    /// not valid at the time.
    NotPermitted(String),
    /// The signature is not one of these bytes.
    Bad(String),
}

/// Returns true for keys of a supported algorithm.
pub(crate) fn is_supported(key: &PublicKey) -> bool {
    matches!(
        key.algorithm(),
        Algorithm::Ed25519
            | Algorithm::SkEd25519
            | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }
            | Algorithm::SkEcdsaSha2NistP256
    )
}

impl AllowedSigners {
    /// Parses a file. Lines that begin with `#` and empty lines are skipped.
    ///
    /// # Errors
    ///
    /// Fails for a line that is not understood: a key must not be trusted less or more than the
    /// file states. Certificates and negated principals are not supported.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            lines.push(Line::parse(text).map_err(|message| LineError { line: index + 1, message })?);
        }
        Ok(Self(lines))
    }

    /// Returns true if the file contains no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Verifies the armored signature of a record.
    pub fn verify(&self, record: &[u8], signature: &[u8], claim: Claim<'_>) -> Verified {
        let parsed = SshSig::from_pem(signature.trim_ascii());
        let Ok(parsed) = parsed else { return Verified::Bad("the signature cannot be parsed".to_owned()) };
        if parsed.namespace() != claim.namespace {
            return Verified::Bad(format!("the signature is one for \"{}\"", printable(parsed.namespace())));
        }
        let key = PublicKey::from(parsed.public_key().clone());
        if !is_supported(&key) {
            return Verified::NotPermitted(format!("signed by a key of {}, which is not supported", key.algorithm()));
        }
        if key.verify(claim.namespace, record, &parsed).is_err() {
            return Verified::Bad("the signature is not one of this content".to_owned());
        }
        self.permit(&key, claim)
    }

    /// Returns the time at which a key can no longer make a claim, if there is one.
    pub fn valid_until(&self, key: &PublicKey, claim: Claim<'_>) -> Option<DateTime<Utc>> {
        let own = self.0.iter().filter(|line| line.key.key_data() == key.key_data());
        let ends: Option<Vec<_>> =
            own.filter(|line| line.refusal(claim).is_none()).map(|line| line.valid_before).collect();
        ends?.into_iter().max()
    }

    /// Decides whether a key may make a claim.
    pub fn permit(&self, key: &PublicKey, claim: Claim<'_>) -> Verified {
        let lines: Vec<&Line> = self.0.iter().filter(|line| line.key.key_data() == key.key_data()).collect();
        if lines.is_empty() {
            return Verified::NotPermitted(format!("signed by an unknown key, {}", key.fingerprint(HashAlg::Sha256)));
        }
        let name = |line: &Line| line.principals.join(",");
        let valid: Vec<&Line> = lines.iter().copied().filter(|line| line.refusal(claim).is_none()).collect();
        let principals = || valid.iter().flat_map(|line| &line.principals);
        let roles: Vec<Role> = ROLES.into_iter().filter(|role| principals().any(|name| role.is_of(name))).collect();
        let by = claim.roles.iter().find_map(|role| principals().find(|name| role.is_of(name)));
        match (by, lines.iter().find_map(|line| Some((line.refusal(claim)?, line)))) {
            (Some(by), _) => Verified::Signed { by: by.clone(), roles },
            (None, Some((why, line))) if valid.is_empty() => {
                Verified::NotPermitted(format!("signed by {}, {why}", name(line)))
            }
            (None, _) => {
                let words: Vec<&str> = claim.roles.iter().map(|role| role.word()).collect();
                let names: Vec<String> = valid.iter().map(|line| name(line)).collect();
                let (names, words) = (names.join(","), words.join(" or "));
                Verified::NotPermitted(format!("signed by {names}, which has not the role {words}"))
            }
        }
    }
}

impl Line {
    fn parse(text: &str) -> Result<Self, String> {
        let (principals, rest) = first_word(text);
        let principals: Vec<String> = principals.trim_matches('"').split(',').map(str::to_owned).collect();
        if let Some(negated) = principals.iter().find(|name| name.starts_with('!')) {
            return Err(format!("the negated principal \"{negated}\" is not supported"));
        }
        let (options, key) = match PublicKey::from_openssh(rest) {
            Ok(key) => ("", key),
            Err(_) => {
                let (options, rest) = first_word(rest);
                let key = PublicKey::from_openssh(rest)
                    .map_err(|_| "expected principals, options and a public key".to_owned())?;
                (options, key)
            }
        };
        let mut line = Self { principals, namespaces: None, valid_after: None, valid_before: None, key };
        for option in split_options(options) {
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let value = value.map(|value| value.trim_matches('"'));
            match (name.to_ascii_lowercase().as_str(), value) {
                ("namespaces", Some(value)) => line.namespaces = Some(value.to_owned()),
                ("valid-after", Some(value)) => line.valid_after = Some(time(value)?),
                ("valid-before", Some(value)) => line.valid_before = Some(time(value)?),
                ("cert-authority", _) => return Err("certificates (cert-authority) are not supported".to_owned()),
                _ => return Err(format!("unknown option \"{name}\"")),
            }
        }
        Ok(line)
    }

    /// Returns the reason why the line does not apply to a claim, if any.
    fn refusal(&self, claim: Claim<'_>) -> Option<String> {
        if self.namespaces.as_ref().is_some_and(|list| !pattern::matches_list(claim.namespace, list)) {
            return Some(format!("which may not sign for \"{}\"", claim.namespace));
        }
        // As ssh-keygen does, both ends are valid.
        match (self.valid_after, self.valid_before) {
            (Some(after), _) if claim.time < after => Some(format!("valid only from {after} on")),
            (_, Some(before)) if claim.time > before => Some(format!("valid only until {before}")),
            _ => None,
        }
    }
}

/// Splits a text at the first space outside of quotes.
fn first_word(text: &str) -> (&str, &str) {
    let mut is_quoted = false;
    let end = text.find(|char: char| {
        is_quoted ^= char == '"';
        !is_quoted && char.is_whitespace()
    });
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (word, rest.trim_start())
}

/// Splits a list of options at the commas outside of quotes.
fn split_options(text: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let options = text.split(|char: char| {
        is_quoted ^= char == '"';
        !is_quoted && char == ','
    });
    options.filter(|option| !option.is_empty()).collect()
}

/// Parses a time: `20260701`, `202607011200` or `20260701120000`, in local time, or in UTC with
/// `Z`.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let wrong = || format!("invalid time \"{text}\": expected YYYYMMDD[HHMM[SS]][Z]");
    let (digits, is_utc) = text.strip_suffix(['Z', 'z']).map_or((text, false), |digits| (digits, true));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let time = match digits.len() {
        8 => NaiveDate::parse_from_str(digits, "%Y%m%d").ok().map(|date| date.and_time(chrono::NaiveTime::MIN)),
        12 => NaiveDateTime::parse_from_str(&format!("{digits}00"), "%Y%m%d%H%M%S").ok(),
        14 => NaiveDateTime::parse_from_str(digits, "%Y%m%d%H%M%S").ok(),
        _ => None,
    };
    let time = time.ok_or_else(wrong)?;
    match is_utc {
        true => Ok(time.and_utc()),
        false => Local.from_local_datetime(&time).earliest().map(|time| time.to_utc()).ok_or_else(wrong),
    }
}

/// Returns a text without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::SigningKey;

    fn claim(time: &str) -> Claim<'_> {
        Claim { namespace: "longshore-manifest", time: time.parse().unwrap(), roles: &[Role::Backup] }
    }

    const NOON: &str = "2026-07-01T12:00:00Z";

    fn public(key: &SigningKey) -> String {
        key.public().to_openssh().unwrap()
    }

    #[test]
    fn generated_line_is_read_back() {
        let key = SigningKey::generate("a host").unwrap();
        let signers = AllowedSigners::parse(&key.public_line("backup@db1,drill@db1")).unwrap();
        let signature = key.sign("longshore-manifest", b"{}").unwrap();
        let signed = Verified::Signed { by: "backup@db1".to_owned(), roles: vec![Role::Backup, Role::Drill] };
        assert_eq!(signers.verify(b"{}", signature.as_bytes(), claim(NOON)), signed);
        assert!(matches!(signers.verify(b"{ }", signature.as_bytes(), claim(NOON)), Verified::Bad(_)));
        assert!(matches!(signers.verify(b"{}", b"x", claim(NOON)), Verified::Bad(_)));
        let mark = Claim { namespace: "longshore-mark", ..claim(NOON) };
        assert!(matches!(signers.verify(b"{}", signature.as_bytes(), mark), Verified::Bad(_)), "another namespace");
    }

    #[test]
    fn reasons_name_the_signer() {
        let (key, other) = (SigningKey::generate("").unwrap(), SigningKey::generate("").unwrap());
        let refusal = |line: String| match AllowedSigners::parse(&line).unwrap().permit(key.public(), claim(NOON)) {
            Verified::NotPermitted(why) => why,
            permitted => panic!("{permitted:?}"),
        };
        assert!(refusal(other.public_line("backup@db1")).starts_with("signed by an unknown key, SHA256:"));
        assert_eq!(refusal(key.public_line("drill@db1")), "signed by drill@db1, which has not the role backup");
        let line = |options: &str| format!("backup@db1 {options} {}", public(&key));
        assert!(refusal(line("namespaces=\"git,longshore-mark\"")).contains("may not sign for \"longshore-manifest\""));
        assert!(refusal(line("valid-before=\"20260701Z\"")).contains("valid only until 2026-07-01 00:00:00 UTC"));
        assert!(refusal(line("valid-after=\"202607011201Z\"")).contains("valid only from 2026-07-01 12:01:00 UTC on"));
    }

    #[test]
    fn another_line_may_permit_what_one_refuses() {
        let key = SigningKey::generate("").unwrap();
        let text = format!(
            "# rotated\nbackup@old valid-before=\"20260101Z\" {}\n\n*@db1 valid-after=\"20260101Z\" {} a comment\n",
            public(&key),
            public(&key)
        );
        let signers = AllowedSigners::parse(&text).unwrap();
        assert_eq!(signers.len(), 2);
        for (time, name) in [(NOON, "*@db1"), ("2025-07-01T12:00:00Z", "backup@old")] {
            let Verified::Signed { by, .. } = signers.permit(key.public(), claim(time)) else { panic!() };
            assert_eq!(by, name);
        }
        let until = |time| signers.valid_until(key.public(), claim(time)).map(|end| end.to_string());
        assert_eq!(until(NOON), None);
        assert_eq!(until("2025-07-01T12:00:00Z").unwrap(), "2026-01-01 00:00:00 UTC");
    }

    #[test]
    fn unsupported_lines_are_errors() {
        let key = public(&SigningKey::generate("").unwrap());
        for (line, message) in [
            (format!("a cert-authority {key}"), "cert-authority"),
            (format!("a no-such {key}"), "unknown option \"no-such\""),
            (format!("!a,b {key}"), "negated"),
            (format!("a valid-before=\"2026\" {key}"), "invalid time"),
            ("a".to_owned(), "expected principals"),
            ("a ssh-ed25519 AAAA".to_owned(), "expected principals"),
        ] {
            let error = AllowedSigners::parse(&format!("\n{line}\n")).unwrap_err();
            assert!(error.line == 2 && error.message.contains(message), "{line}: {error}");
        }
    }
}
