//! Tokens, users, roles and sessions.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use longshore_config::serve::{Auth, Credentials, Role};
use longshore_core::{Error, Kind, Result, Stage, credential, regular_file};

/// The minimum length of a token in bytes.
const MIN_TOKEN_BYTES: usize = 16;
/// The maximum age of a session.
const MAX_SESSION: Duration = Duration::from_secs(12 * 3600);
/// The maximum number of sessions.
const MAX_SESSIONS: usize = 1000;
/// The name of the cookie with the session.
pub(crate) const COOKIE: &str = "longshore_session";

/// The accepted tokens and users.
pub(crate) struct Access {
    /// `None` if requests need no credentials.
    accepted: Option<Accepted>,
}

struct Accepted {
    /// The digests of the tokens, with their roles.
    tokens: Vec<(blake3::Hash, Role)>,
    /// The roles of the users that a certificate or a proxy names.
    users: BTreeMap<String, Role>,
    /// True if clients may send certificates.
    certificates: bool,
    /// The header in which a proxy names the user.
    user_header: Option<String>,
}

/// The sessions of browsers that sent a token. They end with the service.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, (Instant, blake3::Hash)>>);

impl Access {
    /// Reads the files of tokens.
    pub(crate) fn load(auth: &Auth) -> Result<Self> {
        let accepted = match auth {
            Auth::Loopback | Auth::None => None,
            Auth::Required(Credentials { tokens, users, client_ca, user_header }) => Some(Accepted {
                tokens: tokens
                    .iter()
                    .map(|token| Ok((blake3::hash(&read_token(&token.file)?), token.role)))
                    .collect::<Result<_>>()?,
                users: users.clone(),
                certificates: client_ca.is_some(),
                user_header: user_header.clone(),
            }),
        };
        Ok(Self { accepted })
    }

    /// Returns true if requests need a token or a user.
    pub(crate) fn needs_credentials(&self) -> bool {
        self.accepted.is_some()
    }

    /// Returns true if there are tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| !accepted.tokens.is_empty())
    }

    /// Returns the header in which a proxy names the user.
    pub(crate) fn user_header(&self) -> Option<&str> {
        self.accepted.as_ref()?.user_header.as_deref()
    }

    /// Returns the credentials that a request without any lacks.
    pub(crate) fn missing(&self) -> &'static str {
        match &self.accepted {
            Some(accepted) if !accepted.tokens.is_empty() => "a token is needed: Authorization: Bearer TOKEN",
            Some(accepted) if accepted.certificates => "a client certificate is needed",
            _ => "a user is needed, as a proxy of the service names it",
        }
    }

    /// Returns the role of a token.
    pub(crate) fn role_of(&self, token: &str) -> Option<Role> {
        self.role_of_digest(blake3::hash(token.as_bytes()))
    }

    /// Returns the role of a user: the highest of its names.
    pub(crate) fn role_of_user<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<Role> {
        let accepted = self.accepted.as_ref()?;
        names.into_iter().filter_map(|name| accepted.users.get(name)).copied().max()
    }

    /// Compares the digests in constant time, all of them.
    fn role_of_digest(&self, digest: blake3::Hash) -> Option<Role> {
        let known = self.accepted.iter().flat_map(|accepted| &accepted.tokens);
        known.fold(None, |found, (token, role)| if *token == digest { found.max(Some(*role)) } else { found })
    }

    /// Returns the role of a request without credentials, if none are needed.
    pub(crate) fn anonymous_role(&self) -> Option<Role> {
        self.accepted.is_none().then_some(Role::Run)
    }
}

fn read_token(file: &std::path::Path) -> Result<Vec<u8>> {
    let name = file.display().to_string();
    let bytes = credential::file(file).and_then(|path| {
        regular_file::read(&path).map_err(|error| Error::io(Stage::Config, &name, "cannot read the token", error))
    })?;
    let token = bytes.trim_ascii();
    if token.len() < MIN_TOKEN_BYTES {
        let message = format!("the token is shorter than {MIN_TOKEN_BYTES} characters");
        return Err(Error::new(Stage::Config, Kind::Usage, name, message).hint("make one with `openssl rand -hex 24`"));
    }
    Ok(token.to_vec())
}

impl Sessions {
    /// Starts a session for a token, and returns its id.
    pub(crate) fn start(&self, token: &str) -> String {
        let id = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, (started, _)| started.elapsed() < MAX_SESSION);
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(id.clone(), (Instant::now(), blake3::hash(token.as_bytes())));
        id
    }

    /// Returns the role of a session. A session ends when its token is removed.
    pub(crate) fn role(&self, id: &str, access: &Access) -> Option<Role> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (started, token) = sessions.get(id)?;
        access.role_of_digest(*token).filter(|_| started.elapsed() < MAX_SESSION)
    }

    /// Ends a session.
    pub(crate) fn end(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

#[cfg(test)]
mod tests {
    use longshore_config::serve::TokenFile;

    use super::*;

    #[test]
    fn tokens_and_sessions_have_the_role_of_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, token: &str, role| {
            let file = folder.path().join(name);
            std::fs::write(&file, format!("{token}\n")).unwrap();
            TokenFile { file, role }
        };
        let (read, run) = ("a-token-that-reads-all", "a-token-that-runs-jobs");
        let tokens = vec![write("read", read, Role::Read), write("run", run, Role::Run)];
        let required = |tokens: &[TokenFile]| {
            let users = BTreeMap::from([("alice".to_owned(), Role::Read), ("ci".to_owned(), Role::Metrics)]);
            Auth::Required(Credentials { tokens: tokens.to_vec(), users, ..Credentials::default() })
        };
        let access = Access::load(&required(&tokens)).unwrap();
        let role = |names: &[&str]| access.role_of_user(names.iter().copied());
        assert_eq!(
            (role(&["ci", "alice"]), role(&["ci"]), role(&["Alice", ""])),
            (Some(Role::Read), Some(Role::Metrics), None)
        );
        assert_eq!(
            (access.role_of(read), access.role_of(run), access.role_of("")),
            (Some(Role::Read), Some(Role::Run), None)
        );
        assert_eq!(access.anonymous_role(), None);
        let sessions = Sessions::default();
        let id = sessions.start(run);
        assert_eq!((sessions.role(&id, &access), sessions.role("x", &access)), (Some(Role::Run), None));
        let reloaded = Access::load(&required(&tokens[..1])).unwrap();
        assert_eq!(sessions.role(&id, &reloaded), None);
        sessions.end(&id);
        assert_eq!(sessions.role(&id, &access), None);
        let short = required(&[write("short", "short", Role::Read)]);
        assert_eq!(Access::load(&short).err().unwrap().kind(), Kind::Usage);
    }
}
