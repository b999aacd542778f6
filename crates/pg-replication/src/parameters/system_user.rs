//! The operating system user of this process. Source: `pg_fe_getauthname` in `fe-auth.c`,
//! `pqGetHomeDirectory` in `fe-connect.c`.

use std::path::PathBuf;

use nix::unistd::{User, geteuid};

use super::error::ParameterError;

/// Returns the name of the user.
pub(super) fn name() -> Result<String, ParameterError> {
    let uid = geteuid();
    match User::from_uid(uid) {
        Ok(Some(user)) => Ok(user.name),
        Ok(None) | Err(_) => Err(ParameterError::NoUser { uid: uid.as_raw() }),
    }
}

/// Returns the home directory: `HOME`, or the one of the system's user database.
pub(super) fn home(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    match environment("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Some(PathBuf::from(home)),
        // libpq also acts as if the files of the home directory did not exist.
        None => User::from_uid(geteuid()).ok().flatten().map(|user| user.dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_prefers_the_environment() {
        assert_eq!(home(&|_| Some("/home/bob".to_owned())), Some(PathBuf::from("/home/bob")));
        let own = User::from_uid(geteuid()).unwrap().unwrap();
        assert_eq!(home(&|_| Some(String::new())), Some(own.dir));
        assert_eq!(name().unwrap(), own.name);
    }
}
