//! The roles that pass bytes.

use super::{Results, Tester, failing, sample_bytes, stream_of};
use crate::message::Role;
use crate::session::no_input;

/// Tests the roles of dumps and verifiers.
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
}

async fn test_verify(tester: &Tester<'_>, sample: Option<Vec<u8>>, results: &mut Results) {
    let fields: [(&str, serde_json::Value); 2] = [("subject", tester.unique.into()), ("format", "x-test".into())];
    let name = "verify: accepts a sound plaintext, and reads it to the end";
    match sample {
        Some(sample) => results.record(name, tester.run(Role::Verify, &fields, stream_of(&sample)).await.map(drop)),
        None => results.skip(name, "pass a sound plaintext: --sample FILE"),
    }
    let input = failing(&sample_bytes(100_000));
    let failed = match tester.run(Role::Verify, &fields, input).await {
        Ok(_) => Err("it succeeded".to_owned()),
        Err(_) => Ok(()),
    };
    results.record("verify: does not succeed if its input fails", failed);
}
