//! The key that a host signs with.

use std::fmt;

use ssh_key::private::KeypairData;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey};

/// The hash of a record that its signature covers, as `ssh-keygen` uses it by default.
const HASH: HashAlg = HashAlg::Sha512;

/// A key to sign with.
pub struct SigningKey(Inner);

enum Inner {
    /// A private key in memory.
    Private(Box<PrivateKey>),
    /// A key in an agent or in a token: the file contains a public key, or the handle of a token.
    External { public: Box<PublicKey>, agent: bool },
}

/// An unusable key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    /// The error.
    pub message: String,
    /// The way out.
    pub hint: &'static str,
}

impl KeyError {
    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint }
    }
}

/// The program that signs with a key outside of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External {
    /// `ssh-keygen -Y sign -f FILE -U`: the key is in the agent.
    Agent,
    /// `ssh-keygen -Y sign -f FILE`: the key is in a token.
    Token,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public_line("")).finish()
    }
}

impl SigningKey {
    /// Creates a random key.
    ///
    /// # Errors
    ///
    /// Fails if the system provides no random numbers.
    pub fn generate(comment: &str) -> Result<Self, KeyError> {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519);
        let mut key = key.map_err(|error| KeyError::new(format!("cannot create a key: {error}"), "try again"))?;
        key.set_comment(comment);
        Ok(Self(Inner::Private(Box::new(key))))
    }

    /// Parses the content of a key file: a private key of OpenSSH without a passphrase, the handle
    /// of a token's key, or a public key whose private key is in the agent.
    ///
    /// # Errors
    ///
    /// Fails for other contents, and for keys of other algorithms than ed25519 and ECDSA on P-256.
    pub fn parse(content: &str) -> Result<Self, KeyError> {
        if !content.contains("PRIVATE KEY") {
            let line = content.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            let public = PublicKey::from_openssh(line.unwrap_or_default()).map_err(|_| {
                KeyError::new("is not a key of OpenSSH", "create one with `ssh-keygen -t ed25519 -N '' -f FILE`")
            })?;
            expect_algorithm(&public)?;
            return Ok(Self(Inner::External { public: Box::new(public), agent: true }));
        }
        let key = PrivateKey::from_openssh(content.trim()).map_err(|_| {
            KeyError::new(
                "is not a private key in OpenSSH's format",
                "create one with `ssh-keygen -t ed25519 -N '' -f FILE`",
            )
        })?;
        expect_algorithm(key.public_key())?;
        if key.is_encrypted() {
            return Err(KeyError::new(
                "has a passphrase",
                "add it to an agent with ssh-add and name the public key, or remove the passphrase with `ssh-keygen -p`",
            ));
        }
        match key.key_data() {
            KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_) => {
                Ok(Self(Inner::External { public: Box::new(key.public_key().clone()), agent: false }))
            }
            _ => Ok(Self(Inner::Private(Box::new(key)))),
        }
    }

    /// Returns the private key as the content of a file.
    ///
    /// # Errors
    ///
    /// Fails for a key outside of this process.
    pub fn to_file(&self) -> Result<String, KeyError> {
        match &self.0 {
            Inner::Private(key) => match key.to_openssh(LineEnding::LF) {
                Ok(text) => Ok(text.to_string()),
                Err(error) => Err(KeyError::new(format!("cannot encode the key: {error}"), "create another key")),
            },
            Inner::External { .. } => Err(KeyError::new("is not in this process", "copy the file itself")),
        }
    }

    /// Returns the program's way to the key, if the key is outside of this process.
    pub fn external(&self) -> Option<External> {
        match &self.0 {
            Inner::Private(_) => None,
            Inner::External { agent: true, .. } => Some(External::Agent),
            Inner::External { agent: false, .. } => Some(External::Token),
        }
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        match &self.0 {
            Inner::Private(key) => key.public_key(),
            Inner::External { public, .. } => public,
        }
    }

    /// Returns the fingerprint of the public key, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.public().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Returns the line of a file of allowed signers that trusts this key with these principals,
    /// such as `backup@db1,drill@db1`.
    pub fn public_line(&self, principals: &str) -> String {
        let mut public = self.public().clone();
        public.set_comment("");
        let key = public.to_openssh().unwrap_or_default();
        format!("{principals} namespaces=\"longshore-*\" {}", key.trim())
    }

    /// Signs a record. Returns the armored signature.
    ///
    /// # Errors
    ///
    /// Fails for a key outside of this process.
    pub fn sign(&self, namespace: &str, record: &[u8]) -> Result<String, KeyError> {
        let failed = |error: ssh_key::Error| KeyError::new(format!("cannot sign: {error}"), "create another key");
        let Inner::Private(key) = &self.0 else {
            return Err(KeyError::new("is not in this process", "sign with `ssh-keygen -Y sign`"));
        };
        let signature = key.sign(namespace, HASH, record).map_err(failed)?;
        let mut text = signature.to_pem(LineEnding::LF).map_err(failed)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }
}

fn expect_algorithm(key: &PublicKey) -> Result<(), KeyError> {
    if crate::allowed_signers::is_supported(key) {
        return Ok(());
    }
    Err(KeyError::new(
        format!("is a key of {}, which is not supported", key.algorithm()),
        "use ed25519, ed25519-sk, ecdsa on nistp256, or ecdsa-sk",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_its_file() {
        let key = SigningKey::generate("longshore").unwrap();
        let copy = SigningKey::parse(&key.to_file().unwrap()).unwrap();
        assert_eq!(copy.public(), key.public());
        assert_eq!(copy.external(), None);
        assert_eq!(copy.sign("longshore-mark", b"x").unwrap(), key.sign("longshore-mark", b"x").unwrap());
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn public_key_means_the_agent() {
        let public = SigningKey::generate("").unwrap().public().to_openssh().unwrap();
        let key = SigningKey::parse(&format!("# a comment\n{public}\n")).unwrap();
        assert_eq!(key.external(), Some(External::Agent));
        assert!(key.sign("longshore-mark", b"x").is_err() && key.to_file().is_err());
    }

    #[test]
    fn other_contents_are_errors_with_a_way_out() {
        for text in ["", "x", "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n", "age1x"] {
            let error = SigningKey::parse(text).unwrap_err();
            assert!(error.message.starts_with("is not a") && error.hint.contains("ssh-keygen"), "{error:?}");
        }
    }
}
