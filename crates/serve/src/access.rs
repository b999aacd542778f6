//! Tokens, roles and sessions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use longshore_config::serve::{Auth, Role};
use longshore_core::{Error, Kind, Result, Stage, credential, regular_file};

/// The minimum length of a token in bytes.
const MIN_TOKEN_BYTES: usize = 16;
/// The maximum age of a session.
const MAX_SESSION: Duration = Duration::from_secs(12 * 3600);
/// The maximum number of sessions.
const MAX_SESSIONS: usize = 1000;
/// The name of the cookie with the session.
pub(crate) const COOKIE: &str = "longshore_session";

/// The accepted tokens.
pub(crate) struct Access {
    /// The digests of the tokens, with their roles; `None` if requests need no token.
    tokens: Option<Vec<(blake3::Hash, Role)>>,
}

/// The sessions of browsers that sent a token. They end with the service.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, (Instant, blake3::Hash)>>);

impl Access {
    /// Reads the files of tokens.
    pub(crate) fn load(auth: &Auth) -> Result<Self> {
        let tokens = match auth {
            Auth::Loopback | Auth::None => None,
            Auth::Tokens(files) => Some(
                files
                    .iter()
                    .map(|token| Ok((blake3::hash(&read_token(&token.file)?), token.role)))
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Self { tokens })
    }

    /// Returns true if requests need a token.
    pub(crate) fn needs_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// Returns the role of a token.
    pub(crate) fn role_of(&self, token: &str) -> Option<Role> {
        self.role_of_digest(blake3::hash(token.as_bytes()))
    }

    /// Compares the digests in constant time, all of them.
    fn role_of_digest(&self, digest: blake3::Hash) -> Option<Role> {
        let known = self.tokens.iter().flatten();
        known.fold(None, |found, (token, role)| if *token == digest { found.max(Some(*role)) } else { found })
    }

    /// Returns the role of a request without a token, if none is needed.
    pub(crate) fn anonymous_role(&self) -> Option<Role> {
        self.tokens.is_none().then_some(Role::Run)
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
        let access = Access::load(&Auth::Tokens(tokens.clone())).unwrap();
        assert_eq!(
            (access.role_of(read), access.role_of(run), access.role_of("")),
            (Some(Role::Read), Some(Role::Run), None)
        );
        assert_eq!(access.anonymous_role(), None);
        let sessions = Sessions::default();
        let id = sessions.start(run);
        assert_eq!((sessions.role(&id, &access), sessions.role("x", &access)), (Some(Role::Run), None));
        let reloaded = Access::load(&Auth::Tokens(tokens[..1].to_vec())).unwrap();
        assert_eq!(sessions.role(&id, &reloaded), None);
        sessions.end(&id);
        assert_eq!(sessions.role(&id, &access), None);
        let short = Auth::Tokens(vec![write("short", "short", Role::Read)]);
        assert_eq!(Access::load(&short).err().unwrap().kind(), Kind::Usage);
    }
}
