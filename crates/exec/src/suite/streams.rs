//! The roles that pass bytes.

use super::{Results, Tester, failing, sample_bytes, stream_of};
use crate::message::Role;
use crate::session::no_input;

/// The lengths of the plaintexts, in bytes. The last one is decrypted.
const ENCRYPTED: [usize; 2] = [100, 300_000];

/// Tests the roles of dumps, verifiers and encryption.
pub(super) async fn test(tester: &Tester<'_>, roles: &[Role], sample: Option<Vec<u8>>, results: &mut Results) {
    let mut sample = sample;
    if roles.contains(&Role::Dump) {
        let dumped = tester.run(Role::Dump, &[("subject", tester.unique.into())], no_input()).await;
        if let (Ok(dumped), None) = (&dumped, &sample) {
            sample = Some(dumped.output.clone());
        }
        results.record("dump: ends cleanly, with the number of bytes", dumped.map(drop));
    }
    if roles.contains(&Role::Verify) {
        test_verify(tester, sample, results).await;
    }
    if roles.contains(&Role::Encrypt) {
        test_encrypt(tester, roles, results).await;
    } else if roles.contains(&Role::Decrypt) {
        results.skip("decrypt: returns the plaintext", "the program does not implement the role encrypt");
    }
}

/// Tests encryption, and decryption of what it returned.
async fn test_encrypt(tester: &Tester<'_>, roles: &[Role], results: &mut Results) {
    let mut encrypted = None;
    for length in ENCRYPTED {
        let plaintext = sample_bytes(length);
        let run = tester.run(Role::Encrypt, &[], stream_of(&plaintext)).await;
        let changed = run.and_then(|found| match found.output {
            output if output.is_empty() => Err("it wrote nothing".to_owned()),
            output if output.starts_with(&plaintext) => Err("it wrote its input unchanged".to_owned()),
            output => {
                encrypted = Some((plaintext, output));
                Ok(())
            }
        });
        results.record(&format!("encrypt: reads {length} bytes, and writes others"), changed);
    }
    let failed = tester.run(Role::Encrypt, &[], failing(&sample_bytes(100_000))).await;
    results.record("encrypt: does not succeed if its input fails", expect_failure(failed));
    match encrypted {
        Some((plaintext, sealed)) if roles.contains(&Role::Decrypt) => {
            let opened = tester.run(Role::Decrypt, &[], stream_of(&sealed)).await;
            let same = opened.and_then(|found| match found.output == plaintext {
                true => Ok(()),
                false => Err(format!("{} bytes became {} other bytes", plaintext.len(), found.output.len())),
            });
            results.record("decrypt: returns the plaintext", same);
            let cut = tester.run(Role::Decrypt, &[], stream_of(&sealed[..sealed.len() - 20])).await;
            results.record("decrypt: fails for an incomplete file", expect_failure(cut));
            let mut modified = sealed;
            let middle = modified.len() / 2;
            modified[middle] ^= 1;
            let opened = tester.run(Role::Decrypt, &[], stream_of(&modified)).await;
            results.record("decrypt: fails for a modified file", expect_failure(opened));
        }
        _ => results.skip("decrypt: returns the plaintext", "there is nothing to decrypt, or no role decrypt"),
    }
}

fn expect_failure<T>(result: Result<T, String>) -> Result<(), String> {
    match result {
        Ok(_) => Err("it succeeded".to_owned()),
        Err(_) => Ok(()),
    }
}

async fn test_verify(tester: &Tester<'_>, sample: Option<Vec<u8>>, results: &mut Results) {
    let fields: [(&str, serde_json::Value); 2] = [("subject", tester.unique.into()), ("format", "x-test".into())];
    let name = "verify: accepts a sound plaintext, and reads it to the end";
    match sample {
        Some(sample) => results.record(name, tester.run(Role::Verify, &fields, stream_of(&sample)).await.map(drop)),
        None => results.skip(name, "pass a sound plaintext: --sample FILE"),
    }
    let failed = tester.run(Role::Verify, &fields, failing(&sample_bytes(100_000))).await;
    results.record("verify: does not succeed if its input fails", expect_failure(failed));
}
