//! Helm's own library, which checks and renders charts without a cluster.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cluster::cache;
use crate::server;

/// The Python wheel that contains the library.
pub const WHEEL: &str = "helm-python-sdk==0.2.2";

/// Returns the path in the cache where the setup unpacks the wheel.
pub fn installation() -> PathBuf {
    cache::folder().join("helm-python-sdk-0.2.2")
}

/// A chart with values.
#[derive(Debug)]
pub struct Chart<'a> {
    /// The folder of the chart.
    pub folder: &'a Path,
    /// The values in place of those of the chart: an object, or the text of a file as a string.
    pub values: &'a Value,
}

impl Chart<'_> {
    /// Renders the templates as release `release` in namespace `space`. Returns all resources, and
    /// the notes as a string.
    ///
    /// # Errors
    ///
    /// Returns the message of a template that fails, or of a value that the schema refuses.
    pub fn render(&self) -> Result<Vec<Value>, String> {
        match self.call("render")? {
            Value::Array(resources) => Ok(resources),
            other => panic!("not a list: {other}"),
        }
    }

    /// Returns the warnings and errors of `helm lint --strict`.
    ///
    /// # Errors
    ///
    /// Returns the message of a value that the schema refuses.
    pub fn lint(&self) -> Result<Vec<String>, String> {
        let messages = self.call("lint")?;
        Ok(messages.as_array().unwrap().iter().map(|message| message.as_str().unwrap().to_owned()).collect())
    }

    fn call(&self, verb: &str) -> Result<Value, String> {
        server::expect_installed(&installation());
        let mut python = Command::new("python3");
        python.args(["-c", include_str!("helm/helm.py"), verb]).env("PYTHONPATH", installation());
        python.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let request = json!({ "folder": self.folder, "values": self.values }).to_string();
        child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        match answer.get("error").and_then(Value::as_str) {
            Some(message) => Err(message.to_owned()),
            None => Ok(answer["result"].clone()),
        }
    }
}
