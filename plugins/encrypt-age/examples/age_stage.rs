//! Encrypts or decrypts stdin through the stages alone, for measurements: `age_stage seal
//! RECIPIENT`, `age_stage open FILE`.
#![allow(clippy::unwrap_used, reason = "a failure fails the measurement")]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use futures_util::StreamExt;
use longshore_core::plugin::{Ask, Identities, Passphrase, Plugin};
use longshore_core::stage::{Decrypt, Encrypt};
use longshore_core::stream::{ByteStream, from_bytes, transform};
use longshore_core::{Error, Stage};
use longshore_encrypt_age::{Age, AgeDecrypt};
use secrecy::SecretString;

struct NoTerminal;

impl Ask for NoTerminal {
    fn secret(&self, _: &str) -> Option<SecretString> {
        None
    }
}

/// Returns stdin, in chunks of the usual size.
fn stdin() -> ByteStream {
    let wrap = |error| Error::io(Stage::Dump, "stdin", "cannot read it", error);
    transform(from_bytes(""), wrap, |_, writer| writer.copy_from(&mut io::stdin().lock()))
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let mut done = match words[1].as_str() {
        "seal" => {
            let settings: Age = toml::from_str(&format!("recipients = ['{}']", words[2])).unwrap();
            let encrypter: Box<dyn Encrypt> = settings.build(&()).unwrap();
            encrypter.encrypt(stdin(), "stdin")
        }
        _ => {
            let files = vec![words[2].clone().into()];
            let identities = Identities {
                files,
                texts: Vec::new(),
                passphrase: Passphrase::Unused,
                ask: Arc::new(NoTerminal),
                programs: Default::default(),
            };
            let decrypter: Box<dyn Decrypt> = AgeDecrypt::default().build(&identities).unwrap();
            decrypter.decrypt(stdin(), "stdin").await.unwrap()
        }
    };
    // Written through a file: Rust's stdout searches all bytes for line ends.
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned().unwrap());
    while let Some(chunk) = done.next().await {
        stdout.write_all(&chunk.unwrap()).unwrap();
    }
}
