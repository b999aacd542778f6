//! The files of `.packaging/`, the Debian package and the Helm chart.

use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::helm::Chart;
use serde_json::Value;

use super::finish;

/// Returns a file of the packaging.
pub(crate) fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.packaging").join(name)
}

/// Builds the Debian package of a version in a folder, and returns its path.
pub(crate) fn build_deb(version: &str, folder: &Path) -> PathBuf {
    let mut build = Command::new("sh");
    build.arg(packaging("deb/build.sh")).arg(env!("CARGO_BIN_EXE_longshore")).arg(folder);
    build.env("LONGSHORE_DEB_VERSION", version).env("LONGSHORE_DEB_COMPRESSION", "-Zgzip -z1");
    PathBuf::from(finish(&mut build).expect(0).stdout.trim())
}

/// Builds the RPM package in a folder, and returns its path.
pub(crate) fn build_rpm(folder: &Path) -> PathBuf {
    let mut build = Command::new("sh");
    build.arg(packaging("rpm/build.sh")).arg(env!("CARGO_BIN_EXE_longshore")).arg(folder);
    PathBuf::from(finish(build.env("LONGSHORE_DEB_VERSION", "0.1.0-1")).expect(0).stdout.trim())
}

/// Builds the Debian package of these sources, with the profile of the tests, and returns its path.
pub(crate) fn build_deb_of_sources(folder: &Path) -> PathBuf {
    let mut build = Command::new("sh");
    build.arg(packaging("deb/build.sh")).arg(folder);
    build.env("LONGSHORE_DEB_PROFILE", "dev").env("LONGSHORE_DEB_COMPRESSION", "-Zgzip -z1");
    // The folder of the tests, whose libraries need no second build.
    let target = Path::new(env!("CARGO_BIN_EXE_longshore")).ancestors().nth(2).unwrap();
    build.env("CARGO_TARGET_DIR", target);
    PathBuf::from(finish(&mut build).expect(0).stdout.trim())
}

/// Renders the chart with these values. Returns its resources, or the message of its failure.
pub(crate) fn try_render(values: &Value) -> Result<Vec<Value>, String> {
    Chart { folder: &packaging("helm/longshore"), values }.render()
}

/// Renders the chart with these values, and returns its resources.
#[track_caller]
pub(crate) fn render(values: &Value) -> Vec<Value> {
    try_render(values).unwrap_or_else(|message| panic!("{message}"))
}

/// Returns the resources of a kind.
pub(crate) fn of_kind<'a>(resources: &'a [Value], kind: &str) -> Vec<&'a Value> {
    resources.iter().filter(|resource| resource["kind"] == kind).collect()
}

/// Returns the specification of the pods of a `CronJob` or `Deployment`.
pub(crate) fn pod(resource: &Value) -> &Value {
    let spec = &resource["spec"];
    let spec = if resource["kind"] == "CronJob" { &spec["jobTemplate"]["spec"] } else { spec };
    &spec["template"]["spec"]
}

/// Returns the arguments of the container of a pod.
pub(crate) fn arguments(pod: &Value) -> Vec<&str> {
    pod["containers"][0]["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect()
}

/// Returns the variables of the container of a pod that have a value.
pub(crate) fn variables(pod: &Value) -> Vec<(&str, &str)> {
    let all = pod["containers"][0]["env"].as_array().unwrap().iter();
    all.filter_map(|variable| Some((variable["name"].as_str()?, variable["value"].as_str()?))).collect()
}
