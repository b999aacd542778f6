//! Seals or opens what comes on stdin, through the stages alone: `age_stage seal RECIPIENT`, `age_stage open FILE`. To be measured.
#![allow(clippy::unwrap_used)] // what fails here fails a measurement

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use longshore_core::plugin::{Ask, Identities, Passphrase, Plugin};
use longshore_core::stage::{Decrypt, Encrypt};
use longshore_core::stream::{ByteStream, CHUNK_BYTES, from_bytes, transform};
use longshore_core::{Error, Stage};
use longshore_encrypt_age::{Age, Opener};
use secrecy::SecretString;

struct Nobody;

impl Ask for Nobody {
    fn secret(&self, _: &str) -> Option<SecretString> {
        None
    }
}

/// What comes on stdin, in chunks of their usual size.
fn stdin() -> ByteStream {
    let wrap = |error| Error::io(Stage::Dump, "stdin", "cannot read it", error);
    transform(from_bytes(""), wrap, |_, writer| {
        let mut stdin = io::stdin().lock();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            if stdin.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)? == 0 {
                return Ok(());
            }
            writer.pass(Bytes::from(chunk))?;
        }
    })
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let mut done = match words[1].as_str() {
        "seal" => {
            let settings: Age = toml::from_str(&format!("recipients = ['{}']", words[2])).unwrap();
            let sealer: Box<dyn Encrypt> = settings.build(&()).unwrap();
            sealer.encrypt(stdin(), "stdin")
        }
        _ => {
            let files = vec![words[2].clone().into()];
            let identities =
                Identities { files, texts: Vec::new(), passphrase: Passphrase::Unused, ask: Arc::new(Nobody) };
            let opener: Box<dyn Decrypt> = Opener::default().build(&identities).unwrap();
            opener.decrypt(stdin(), "stdin").await.unwrap()
        }
    };
    let mut stdout = io::stdout().lock();
    while let Some(chunk) = done.next().await {
        stdout.write_all(&chunk.unwrap()).unwrap();
    }
}
