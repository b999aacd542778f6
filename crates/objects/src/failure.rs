//! The conversion of a client's error to an error with a kind, a short cause and a hint.
//!
//! `object_store` reports an error as one long line with the address and the whole answer.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use longshore_core::{Error, Kind, Stage};
use object_store::client::{HttpError, HttpErrorKind};

use crate::place::Place;

/// The prefix with which `object_store` reports a server's answer.
pub(crate) const ANSWERED: &str = "Server returned non-2xx status code: ";
/// The addresses at which cloud instances request credentials when none are configured.
const METADATA: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];

/// The error codes for a body that was changed in transit. Stores send them with status 400, which
/// clients do not retry.
const CHANGED: [&str; 6] = [
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "InvalidDigest",
    "IncompleteBody",
    "Md5Mismatch",
];

/// Returns true if the answer reports a body that was changed in transit, which is worth a retry.
pub(crate) fn says_changed(status: StatusCode, body: &[u8]) -> bool {
    let said = |code: &&str| -> bool {
        let element = format!("<Code>{code}</Code>");
        body.windows(element.len()).any(|window| window == element.as_bytes())
    };
    status == StatusCode::BAD_REQUEST && CHANGED.iter().any(said)
}

/// A server's error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    status: u16,
    code: String,
    message: String,
}

impl Answer {
    /// Parses the server's answer from an error, if the error contains one.
    pub(crate) fn of(error: &object_store::Error) -> Option<Self> {
        let told = chain(error).map(|error| error.to_string()).find(|told| told.starts_with(ANSWERED))?;
        let told = told.strip_prefix(ANSWERED)?;
        let status = told.get(..3)?.parse().ok()?;
        let element = |name: &str| {
            let (_, rest) = told.split_once(&format!("<{name}>"))?;
            let (text, _) = rest.split_once(&format!("</{name}>"))?;
            // The first line is the message; Azure adds identifiers and times.
            Some(text.lines().next().unwrap_or_default().chars().take(200).collect::<String>())
        };
        let code = element("Code").unwrap_or_default();
        // The wire replaces this status by 503 to cause a retry.
        let status = if CHANGED.contains(&code.as_str()) { 400 } else { status };
        Some(Self { status, code, message: element("Message").unwrap_or_default() })
    }

    /// Returns true if another client was writing the same key at the same time.
    pub(crate) fn is_race(&self) -> bool {
        self.code == "ConditionalRequestConflict"
    }

    fn kind(&self) -> Kind {
        match self.status {
            301 | 307 | 308 => Kind::Usage,
            400 if self.is_about_changed_bytes() => Kind::Unavailable,
            400 if self.is_about_region() => Kind::Usage,
            400 if self.is_about_credentials() => Kind::Denied,
            401 | 403 => Kind::Denied,
            404 => Kind::NotFound,
            409 if self.code.starts_with("BlobImmutable") => Kind::Refused,
            304 | 409 | 412 => Kind::AlreadyExists,
            416 => Kind::Corrupt,
            501 | 507 => Kind::Failed,
            408 | 429 | 500.. => Kind::Unavailable,
            _ => Kind::Failed,
        }
    }

    /// Returns true if the bucket does not exist.
    fn misses_bucket(&self) -> bool {
        ["NoSuchBucket", "ContainerNotFound", "ResourceNotFound"].contains(&self.code.as_str())
            || self.message.contains("bucket does not exist")
    }

    fn is_about_credentials(&self) -> bool {
        ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthenticationFailed"]
            .contains(&self.code.as_str())
    }

    fn is_about_changed_bytes(&self) -> bool {
        CHANGED.contains(&self.code.as_str())
    }

    fn is_about_region(&self) -> bool {
        ["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"]
            .contains(&self.code.as_str())
    }

    fn is_about_time(&self) -> bool {
        self.code == "RequestTimeTooSkewed"
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}", self.status)?;
        for (between, text) in [(" ", &self.code), (": ", &self.message)] {
            if !text.is_empty() {
                write!(f, "{between}{}", longshore_core::error::printable(text))?;
            }
        }
        Ok(())
    }
}

impl StdError for Answer {}

/// Converts a client's error: the error is about `subject`, its kind follows from the server's
/// answer, and it has a hint.
pub fn failure(place: &Place, subject: &str, message: &str, error: object_store::Error) -> Error {
    let words = place.words;
    let named = |kind, message: &str| Error::new(Stage::Ship, kind, subject, message);
    if let Some(answer) = Answer::of(&error) {
        let kind = answer.kind();
        let failed = match kind {
            Kind::NotFound if answer.misses_bucket() => {
                let missing = format!("there is no {} \"{}\"", words.bucket, place.bucket());
                Error::new(Stage::Ship, kind, place.name(), missing)
                    .hint(format!("create it, or correct {}; Longshore does not create one", words.bucket))
            }
            Kind::NotFound => named(kind, "not found").hint("run `longshore list` to see the backups"),
            Kind::AlreadyExists => taken(subject),
            Kind::Denied if answer.is_about_time() => {
                named(kind, message).hint("set this host's clock: requests are signed with the time")
            }
            Kind::Denied if answer.is_about_credentials() => named(kind, message).hint(words.credentials),
            Kind::Denied => named(kind, &format!("not permitted: {message}")).hint(words.credentials),
            Kind::Refused => {
                named(kind, message).hint("a policy of the store keeps it; remove it after the policy expires")
            }
            Kind::Usage => named(kind, message).hint(words.address),
            Kind::Unavailable if answer.is_about_changed_bytes() => named(kind, message)
                .hint("every attempt changed bytes on the way: check the network and this host's memory"),
            Kind::Unavailable => named(kind, &format!("the store is unavailable: {message}"))
                .hint("the store has a problem or limits requests: try again later"),
            _ => named(kind, message),
        };
        return failed.because(answer);
    }
    let told: Vec<_> = chain(&error).map(|error| error.to_string()).collect();
    let innermost = told.last().cloned().unwrap_or_default();
    if told.iter().any(|told| METADATA.iter().any(|address| told.contains(address))) {
        return named(
            Kind::Denied,
            "no credentials were found, and this host is not a cloud instance that provides them",
        )
        .hint(words.credentials)
        .because(innermost);
    }
    match chain(&error).find_map(|error| error.downcast_ref::<HttpError>()) {
        // The failed operation does not matter if the connection failed.
        Some(error) if error.kind() == HttpErrorKind::Connect => {
            named(Kind::Unavailable, "the store cannot be reached").hint(words.address).because(innermost)
        }
        Some(_) => named(Kind::Unavailable, message).hint(words.address).because(innermost),
        None if told.iter().any(|told| told.contains("without LOCATION")) => {
            named(Kind::Usage, message).hint(words.address).because(innermost)
        }
        None => named(Kind::Failed, message).because(innermost),
    }
}

/// Returns the error for a key that already exists.
pub(crate) fn taken(subject: &str) -> Error {
    Error::new(Stage::Ship, Kind::AlreadyExists, subject, "already exists, and nothing is ever overwritten")
        .hint("another run used the same time, or another host writes to the same place: give each host its own prefix")
}

/// Returns true if the request was sent and no answer came, so that its outcome is unknown.
pub(crate) fn unanswered(error: &object_store::Error) -> bool {
    let kind = chain(error).find_map(|error| Some(error.downcast_ref::<HttpError>()?.kind()));
    kind.is_some_and(|kind| kind != HttpErrorKind::Connect)
}

fn chain<'a>(error: &'a object_store::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some::<&'a (dyn StdError + 'static)>(error), |error| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Words;

    #[derive(Debug)]
    struct Told(String);

    impl fmt::Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    impl StdError for Told {}

    fn told(text: String) -> Error {
        let words = Words { bucket: "bucket", credentials: "see the credentials", address: "see the address" };
        let place = Place::new("s3://", "acme", None, words).unwrap();
        let error = object_store::Error::Generic { store: "S3", source: Box::new(Told(text)) };
        failure(&place, "s3://acme/x", "cannot send it", error)
    }

    fn answered(status: &str, code: &str) -> Error {
        told(format!(
            "{ANSWERED}{status}: <?xml?><Error><Code>{code}</Code><Message>So it is.\nId: 17</Message><Key>x</Key></Error>"
        ))
    }

    #[test]
    fn an_answer_becomes_a_kind_a_short_cause_and_a_hint() {
        for (status, code, kind, hint) in [
            ("403 Forbidden", "AccessDenied", Kind::Denied, "see the credentials"),
            ("403 Forbidden", "RequestTimeTooSkewed", Kind::Denied, "clock"),
            ("400 Bad Request", "ExpiredToken", Kind::Denied, "see the credentials"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", Kind::Usage, "see the address"),
            ("404 Not Found", "NoSuchBucket", Kind::NotFound, "correct bucket"),
            ("404 Not Found", "NoSuchKey", Kind::NotFound, "longshore list"),
            ("412 Precondition Failed", "PreconditionFailed", Kind::AlreadyExists, "prefix"),
            ("503 Service Unavailable", "SlowDown", Kind::Unavailable, "later"),
            ("409 Conflict", "BlobImmutableDueToPolicy", Kind::Refused, "keeps it"),
            ("400 Bad Request", "BadDigest", Kind::Unavailable, "on the way"),
        ] {
            let error = answered(status, code);
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.remedy().unwrap().contains(hint), "{code}: {:?}", error.remedy());
            let cause = format!(": the store answered {} {code}: So it is.", &status[..3]);
            assert!(error.chain().ends_with(&cause), "{}", error.chain());
        }
    }

    #[test]
    fn an_answer_without_words_is_one() {
        let error = told(format!("{ANSWERED}403 Forbidden: "));
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.chain().ends_with("the store answered 403"), "{}", error.chain());
    }

    #[test]
    fn nobody_to_ask_for_credentials_is_said() {
        let error = told("error sending request for url (http://169.254.169.254/latest/api/token)".into());
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("no credentials were found"), "{error}");
    }
}
