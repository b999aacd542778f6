//! The rules for authentication: channel binding, permitted methods. Source: `pqConnectOptions2` in
//! `fe-connect.c`.

use super::error::ParameterError;
use super::settings::Settings;

/// The use of channel binding (`channel_binding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never binds.
    Disable,
    /// Binds if the connection uses TLS and the server offers it.
    Prefer,
    /// Binds, or fails. A server that does not ask for SCRAM fails too.
    Require,
}

impl ChannelBinding {
    pub(super) fn resolve(settings: &Settings) -> Result<Self, ParameterError> {
        let words = [("disable", Self::Disable), ("prefer", Self::Prefer), ("require", Self::Require)];
        settings.choice("channel_binding", Self::Prefer, &words, "not one of disable, prefer, require")
    }
}

/// A method of authentication that a server can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationMethod {
    /// A password in clear text (`AuthenticationCleartextPassword`).
    Password,
    /// An MD5 digest of the password (`AuthenticationMD5Password`).
    Md5,
    /// GSSAPI.
    Gss,
    /// SSPI.
    Sspi,
    /// SCRAM-SHA-256, with or without channel binding.
    ScramSha256,
    /// OAuth (PostgreSQL 18 and newer).
    OAuth,
    /// No request: `AuthenticationOk` at once, as for `trust`, `peer` and `cert`.
    None,
}

/// The methods of authentication that the client accepts (`require_auth`): all of them by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermittedMethods {
    /// A bit for each method.
    bits: u8,
}

impl PermittedMethods {
    /// Returns true if the client may authenticate with a method. The client fails if the server
    /// asks for a method that is not permitted, before it sends anything, and if
    /// `AuthenticationOk` arrives without a request and [`AuthenticationMethod::None`] is not
    /// permitted.
    pub fn permits(self, method: AuthenticationMethod) -> bool {
        self.bits & bit(method) != 0
    }

    /// Returns the methods of `require_auth`: a list of permitted methods, or a list of excluded
    /// methods, each with `!`. Fails if the client implements none of the permitted methods.
    pub(super) fn resolve(settings: &Settings) -> Result<Self, ParameterError> {
        let Some(list) = settings.text("require_auth") else { return Ok(Self { bits: ALL }) };
        let excluded = list.starts_with('!');
        let mut named = 0;
        for item in list.split(',') {
            let name = match (item.strip_prefix('!'), excluded) {
                (Some(name), true) => name,
                (None, false) => item,
                _ => return Err(settings.invalid("require_auth", "methods with and without \"!\"")),
            };
            let Some((_, method)) = METHODS.iter().find(|(word, _)| *word == name) else {
                return Err(settings.invalid("require_auth", "a method that libpq does not know"));
            };
            // A duplicate is probably a typing error, where such errors are dangerous.
            if named & bit(*method) != 0 {
                return Err(settings.invalid("require_auth", "a method is named twice"));
            }
            named |= bit(*method);
        }
        let permitted = Self { bits: if excluded { ALL & !named } else { named } };
        if IMPLEMENTED.iter().any(|method| permitted.permits(*method)) {
            Ok(permitted)
        } else {
            Err(settings.unsupported("require_auth"))
        }
    }
}

const METHODS: [(&str, AuthenticationMethod); 7] = [
    ("password", AuthenticationMethod::Password),
    ("md5", AuthenticationMethod::Md5),
    ("gss", AuthenticationMethod::Gss),
    ("sspi", AuthenticationMethod::Sspi),
    ("scram-sha-256", AuthenticationMethod::ScramSha256),
    ("oauth", AuthenticationMethod::OAuth),
    ("none", AuthenticationMethod::None),
];

/// The methods that the client implements.
const IMPLEMENTED: [AuthenticationMethod; 4] = [
    AuthenticationMethod::Password,
    AuthenticationMethod::Md5,
    AuthenticationMethod::ScramSha256,
    AuthenticationMethod::None,
];

const ALL: u8 = u8::MAX;

const fn bit(method: AuthenticationMethod) -> u8 {
    1 << method as u8
}

#[cfg(test)]
mod tests {
    use AuthenticationMethod::{Gss, Md5, None as NoRequest, Password, ScramSha256};

    use super::*;

    fn methods(list: &str) -> Result<PermittedMethods, ParameterError> {
        let keywords = [("require_auth".to_owned(), list.to_owned())];
        PermittedMethods::resolve(&Settings::merge(keywords, &|_| None).unwrap())
    }

    #[test]
    fn require_auth_permits_or_excludes_methods() {
        let all = [Password, Md5, Gss, ScramSha256, NoRequest];
        let permitted = |list| all.map(|method| methods(list).unwrap().permits(method));
        assert_eq!(permitted(""), [true; 5]);
        assert_eq!(permitted("scram-sha-256"), [false, false, false, true, false]);
        assert_eq!(permitted("md5,none,gss"), [false, true, true, false, true]);
        assert_eq!(permitted("!password,!md5"), [false, false, true, true, true]);
        assert_eq!(permitted("!none"), [true, true, true, true, false]);
    }

    #[test]
    fn require_auth_rejects_mixed_unknown_and_double_names() {
        for list in ["md5,!none", "!md5,none", "peer", "md5,md5", "!none,!none", "md5,", "MD5"] {
            assert!(matches!(methods(list), Err(ParameterError::Invalid { .. })), "{list}");
        }
        for list in ["gss", "gss,sspi,oauth", "!password,!md5,!scram-sha-256,!none"] {
            assert!(matches!(methods(list), Err(ParameterError::Unsupported { .. })), "{list}");
        }
    }
}
