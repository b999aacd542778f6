//! The rules for imports between crates, and for the layout of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{files_below, root};

/// The crates that plugins share. They implement no stage themselves.
const HELPERS: [&str; 7] = [
    "longshore-exec",
    "longshore-pg-client",
    "longshore-pg-archive",
    PG_BASE,
    "longshore-pg-replication",
    "longshore-ssh",
    "longshore-objects",
];
/// The numbers and names of WAL, which depend on nothing.
const PG_WAL: &str = "longshore-pg-wal";
/// The files of clusters, such as pg_control.
const PG_BASE: &str = "longshore-pg-base";
const MODEL: &str = "longshore-model";
const RETENTION: &str = "longshore-retention";
const SCHEDULE: &str = "longshore-schedule";
/// Differences of files, which depend on nothing.
const RDIFF: &str = "longshore-rdiff";
const CORE: &str = "longshore-core";
const CATALOG: &str = "longshore-catalog";
const CONFIG: &str = "longshore-config";
const ENGINE: &str = "longshore-engine";
/// The signatures of records, which depend on nothing.
const TRUST: &str = "longshore-trust";
const NOTIFY: &str = "longshore-notify";
const PROGRAM: &str = "longshore-program";
const METRICS: &str = "longshore-metrics";
/// The pages, which show the structs of the engine.
const PAGE: &str = "longshore-page";
/// The service, which serves the pages and starts runs.
const SERVE: &str = "longshore-serve";
const CLI: &str = "longshore";
const TESTKIT: &str = "longshore-testkit";
const XTASK: &str = "xtask";

/// A crate of the workspace.
struct Package {
    name: String,
    /// The crate's folder, such as `plugins/ship-local`.
    folder: PathBuf,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    is_ours: bool,
    is_for_tests: bool,
}

impl Package {
    fn is_plugin(&self) -> bool {
        self.folder.starts_with("plugins")
    }

    /// Returns the dependencies in the workspace, except those for tests only.
    fn imports(&self) -> BTreeSet<&str> {
        let ours = self.dependencies.iter().filter(|dependency| dependency.is_ours);
        ours.filter(|dependency| !dependency.is_for_tests).map(|dependency| dependency.name.as_str()).collect()
    }
}

fn packages() -> Vec<Package> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn package(package: &Value) -> Package {
    let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
    let dependencies = package["dependencies"].as_array().unwrap().iter();
    Package {
        name: package["name"].as_str().unwrap().to_owned(),
        folder: folder.strip_prefix(root()).unwrap().to_owned(),
        dependencies: dependencies
            .map(|dependency| Dependency {
                name: dependency["name"].as_str().unwrap().to_owned(),
                is_ours: dependency["path"].is_string(),
                is_for_tests: dependency["kind"] == "dev",
            })
            .collect(),
    }
}

fn named<'a>(packages: &'a [Package], name: &str) -> &'a Package {
    packages.iter().find(|package| package.name == name).unwrap()
}

/// The layers below the commands, each with its imports.
const LAYERS: [(&str, &[&str]); 16] = [
    (PG_WAL, &[]),
    (TRUST, &[]),
    (MODEL, &[PG_WAL]),
    (RETENTION, &[MODEL, PG_WAL]),
    (SCHEDULE, &[MODEL]),
    (RDIFF, &[]),
    (CORE, &[MODEL, RDIFF]),
    (CATALOG, &[CORE, MODEL, RETENTION]),
    (PROGRAM, &[CORE]),
    (NOTIFY, &[CORE, PROGRAM]),
    (CONFIG, &[CATALOG, CORE, NOTIFY, PROGRAM, RETENTION, SCHEDULE, TRUST]),
    (ENGINE, &[CATALOG, CONFIG, CORE, NOTIFY, PG_BASE, PG_WAL, PROGRAM, RETENTION, SCHEDULE, TRUST]),
    (METRICS, &[CORE, ENGINE]),
    (PAGE, &[CONFIG, CORE, ENGINE, RETENTION]),
    (SERVE, &[CONFIG, CORE, ENGINE, METRICS, PAGE, SCHEDULE]),
    (TESTKIT, &[CORE]),
];

#[test]
fn layers_import_only_lower_layers() {
    let packages = packages();
    for (name, imports) in LAYERS {
        assert_eq!(named(&packages, name).imports(), BTreeSet::from_iter(imports.iter().copied()), "{name}");
    }
}

#[test]
fn layers_know_no_configuration_format_or_command_line() {
    let packages = packages();
    for name in [MODEL, RETENTION, SCHEDULE, CORE, CATALOG] {
        for dependency in &named(&packages, name).dependencies {
            assert!(!["toml", "clap"].contains(&dependency.name.as_str()), "{name} depends on {}", dependency.name);
        }
    }
    for runtime in ["tokio", "futures-util", "async-trait"] {
        for name in [MODEL, RETENTION, SCHEDULE] {
            let is_known = named(&packages, name).dependencies.iter().any(|dependency| dependency.name == runtime);
            assert!(!is_known, "{name} depends on {runtime}");
        }
    }
}

#[test]
fn plugins_import_only_core_and_helpers() {
    let allowed = &BTreeSet::from([CORE, PG_WAL, PROGRAM]) | &BTreeSet::from(HELPERS);
    let allowed_in_tests = &allowed | &BTreeSet::from([TESTKIT]);
    for plugin in packages().iter().filter(|package| package.is_plugin() || HELPERS.contains(&package.name.as_str())) {
        for dependency in plugin.dependencies.iter().filter(|dependency| dependency.is_ours) {
            let allowed = if dependency.is_for_tests { &allowed_in_tests } else { &allowed };
            assert!(allowed.contains(dependency.name.as_str()), "{} depends on {}", plugin.name, dependency.name);
        }
    }
}

#[test]
fn plugin_folders_are_named_stage_and_tool() {
    for plugin in packages().iter().filter(|package| package.is_plugin()) {
        let folder = plugin.folder.file_name().unwrap().to_str().unwrap();
        let (stage, _) = folder.split_once('-').unwrap();
        assert!(["dump", "verify", "encrypt", "ship", "restore", "scratch", "examine"].contains(&stage), "{folder}");
        assert_eq!(plugin.name, format!("longshore-{folder}"));
    }
}

#[test]
fn only_cli_imports_plugins() {
    let packages = packages();
    let plugins: BTreeSet<&str> =
        packages.iter().filter(|package| package.is_plugin()).map(|p| p.name.as_str()).collect();
    for package in packages.iter().filter(|package| package.name != CLI) {
        let imported: Vec<_> = package.imports().intersection(&plugins).copied().collect();
        assert!(imported.is_empty(), "{} depends on {imported:?}", package.name);
    }
    let beside_plugins = &named(&packages, CLI).imports() - &plugins;
    // The report of a drill has the layout of the pages.
    let allowed =
        &BTreeSet::from([CORE, CATALOG, RETENTION, SCHEDULE, CONFIG, ENGINE, METRICS, PAGE, SERVE, PG_WAL, TRUST])
            | &BTreeSet::from(HELPERS);
    assert!(beside_plugins.is_subset(&allowed), "{CLI} depends on {beside_plugins:?}");
}

/// Returns the names of plugins and their helpers in source code.
fn plugin_names() -> Vec<String> {
    let packages = packages();
    let plugins = packages.iter().filter(|package| package.is_plugin()).map(|plugin| plugin.name.as_str());
    plugins.chain(HELPERS).map(|name| name.replace('-', "_")).collect()
}

#[test]
fn plugins_rs_of_cli_exports_no_types_of_plugins() {
    let names = plugin_names();
    let text = fs::read_to_string(root().join("crates/cli/src/plugins.rs")).unwrap();
    for line in text.lines().filter(|line| line.trim_start().starts_with("pub(crate)")) {
        assert!(!names.iter().any(|name| line.contains(name)), "{line}");
    }
}

#[test]
fn only_plugins_rs_of_cli_names_plugins() {
    let names = plugin_names();
    let sources = root().join("crates/cli/src");
    for file in files_below(&sources) {
        let text = fs::read_to_string(&file).unwrap();
        let named: Vec<_> = names.iter().filter(|name| text.contains(name.as_str())).collect();
        assert!(named.is_empty() || file == sources.join("plugins.rs"), "{} names {named:?}", file.display());
    }
}

#[test]
fn testkit_is_imported_by_tests_only() {
    for package in packages().iter().filter(|package| package.name != XTASK && !package.folder.starts_with("tests")) {
        assert!(!package.imports().contains(TESTKIT), "{} depends on {TESTKIT} outside its tests", package.name);
    }
}

#[test]
fn repository_root_has_only_known_entries() {
    let map = ["Cargo.toml", "Cargo.lock", "README.md", "config.example.toml", "crates", "plugins", "tests"];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // Cargo's default target folder is not part of the repository.
        let is_known = name.starts_with('.') || name == "target" || map.contains(&name.as_str());
        assert!(is_known, "{name} is not allowed at the top");
    }
}
