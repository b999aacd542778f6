//! The behaviours that a program of the protocol must have, as tests of any program.

mod objects;
mod streams;

use futures_util::StreamExt;
use futures_util::stream::{iter, once};
use longshore_core::stream::{ByteStream, from_bytes};
use longshore_core::{Error, Kind, Result, Stage};

use crate::message::{ObjectEntry, Role};
use crate::session::{Request, Session, Step, no_input};
use crate::settings::ExecProgram;

/// A behaviour, and the reason why a program does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// The behaviour, such as `ship: never overwrites an object`.
    pub name: String,
    /// The result.
    pub result: BehaviourResult,
}

/// The result of the test of a behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BehaviourResult {
    /// The program has the behaviour.
    Passed,
    /// The behaviour was not tested, for this reason.
    Skipped(String),
    /// The program does not have the behaviour.
    Failed(String),
}

/// The results of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// The name and version of the program.
    pub program: String,
    /// The behaviours.
    pub behaviours: Vec<Behaviour>,
}

impl Results {
    /// Returns true if no behaviour failed.
    pub fn have_passed(&self) -> bool {
        !self.behaviours.iter().any(|behaviour| matches!(behaviour.result, BehaviourResult::Failed(_)))
    }
}

/// Tests all roles of a program. `sample` is a sound plaintext for the role `verify`; without one,
/// the output of the role `dump` is used. `unique` is the name of a folder for objects, which are
/// removed afterwards.
///
/// # Errors
///
/// Fails if the program cannot be started, or does not implement the protocol.
pub async fn test(program: &ExecProgram, sample: Option<Vec<u8>>, unique: &str) -> Result<Results> {
    let (name, roles) = Session::roles(program).await?;
    let tester = Tester { program, unique };
    let mut results = Results { program: name, behaviours: Vec::new() };
    results.pass("hello: introduces itself within the time limit");
    if roles.is_empty() {
        results.record("hello: names its roles", Err("roles is empty".to_owned()));
    }
    if roles.contains(&Role::Check) {
        results.record("check: succeeds", tester.run(Role::Check, &[], no_input()).await.map(drop));
    }
    streams::test(&tester, &roles, sample, &mut results).await;
    objects::test(&tester, &roles, &mut results).await;
    Ok(results)
}

impl Results {
    fn pass(&mut self, name: &str) {
        self.behaviours.push(Behaviour { name: name.to_owned(), result: BehaviourResult::Passed });
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.behaviours.push(Behaviour { name: name.to_owned(), result: BehaviourResult::Skipped(reason.to_owned()) });
    }

    fn record(&mut self, name: &str, result: Result<(), String>) {
        let result = result.map_or_else(BehaviourResult::Failed, |()| BehaviourResult::Passed);
        self.behaviours.push(Behaviour { name: name.to_owned(), result });
    }
}

/// The program under test.
struct Tester<'a> {
    program: &'a ExecProgram,
    unique: &'a str,
}

/// The output and the entries of an operation.
struct Finished {
    output: Vec<u8>,
    entries: Vec<ObjectEntry>,
}

impl Tester<'_> {
    fn request(&self, role: Role, fields: &[(&str, serde_json::Value)]) -> Request {
        let request = Request::new(Stage::Config, self.unique, role);
        fields.iter().fold(request, |request, (name, value)| request.with(name, value.clone()))
    }

    async fn start(&self, role: Role, fields: &[(&str, serde_json::Value)]) -> Result<Session> {
        Session::start(self.program, self.request(role, fields)).await
    }

    /// Performs an operation to its end. The error is described.
    async fn run(
        &self,
        role: Role,
        fields: &[(&str, serde_json::Value)],
        input: ByteStream,
    ) -> Result<Finished, String> {
        self.attempt(role, fields, input).await.map_err(|error| error.chain())
    }

    /// Performs an operation to its end.
    async fn attempt(
        &self,
        role: Role,
        fields: &[(&str, serde_json::Value)],
        mut input: ByteStream,
    ) -> Result<Finished> {
        let mut session = self.start(role, fields).await?;
        let (mut output, mut entries) = (Vec::new(), Vec::new());
        loop {
            match session.step(&mut input).await? {
                Step::Output(bytes) => output.extend_from_slice(&bytes),
                Step::Entry(entry) => entries.push(entry),
                Step::Ended => {
                    session.finish().await?;
                    return Ok(Finished { output, entries });
                }
                Step::Taken(_) | Step::InputEnded => {}
            }
        }
    }
}

/// Returns `length` bytes that are hardly compressible.
fn sample_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Returns a stream of bytes in several chunks.
fn stream_of(bytes: &[u8]) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(60_000).map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk))).collect();
    if chunks.is_empty() { from_bytes("") } else { iter(chunks).boxed() }
}

/// Returns a stream of bytes that ends in an error.
fn failing(bytes: &[u8]) -> ByteStream {
    let error = Error::new(Stage::Config, Kind::Failed, "test", "the input fails on purpose");
    stream_of(bytes).chain(once(async { Err(error) })).boxed()
}
