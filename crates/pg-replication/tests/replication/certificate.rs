//! Certificates, made by openssl.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{ServerFolder, run};

/// A folder of keys and certificates.
#[derive(Debug)]
pub(crate) struct Certificates(pub(crate) ServerFolder);

impl Certificates {
    /// Creates the folder with the root `root.crt`.
    pub(crate) fn new() -> Self {
        let all = Self(ServerFolder::new());
        all.root("root");
        all
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    /// Creates `<name>.crt` and `<name>.key`, self-signed, as an authority.
    pub(crate) fn root(&self, name: &str) {
        self.openssl(&format!(
            "req -new -x509 -days 365 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN={name} \
             -keyout {name}.key -out {name}.crt"
        ));
    }

    /// Creates `<name>.key`, and `<name>.csr` for a subject.
    pub(crate) fn request(&self, name: &str, subject: &str, key: &str) {
        self.openssl(&format!("req -new -nodes {key} -subj {subject} -keyout {name}.key -out {name}.csr"));
        self.0.give_to_server(&self.path(&format!("{name}.key")));
    }

    /// Signs `<name>.csr` with the root, as a certificate of version 3 with extensions in the form
    /// of a configuration file.
    pub(crate) fn sign(&self, name: &str, extensions: &str, options: &str) {
        std::fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&format!(
            "x509 -req -days 365 -in {name}.csr -CA root.crt -CAkey root.key -CAcreateserial -out {name}.crt \
             -extfile extensions {options}"
        ));
    }

    /// Creates a certificate of a server for a name.
    pub(crate) fn server(&self, name: &str, host: &str) {
        self.request(name, "/CN=unused", EC_KEY);
        self.sign(name, &format!("subjectAltName=DNS:{host}"), "-sha256");
    }

    /// Runs openssl in the folder. Arguments are separated by spaces.
    pub(crate) fn openssl(&self, arguments: &str) {
        run(Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.path("")));
    }

    /// Returns the settings of a server that uses `<name>.crt`.
    pub(crate) fn settings(&self, name: &str) -> Vec<String> {
        vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", self.path(&format!("{name}.crt")).display()),
            format!("ssl_key_file={}", self.path(&format!("{name}.key")).display()),
            format!("ssl_ca_file={}", self.path("root.crt").display()),
        ]
    }
}

/// The arguments for a key of the curve P-256.
pub(crate) const EC_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

/// The arguments for an RSA key.
pub(crate) const RSA_KEY: &str = "-newkey rsa:2048";
