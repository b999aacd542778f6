//! Text is for people, JSON for programs, and the exit code for both.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Job, TestEnv, finish};

#[test]
fn stdout_has_results_and_stderr_progress() {
    let test_env = TestEnv::new();
    let run = test_env.longshore(&["run"]).expect(0);
    assert!(run.stdout.starts_with("ARTIFACT") && run.stdout.contains("postgres"), "{}", run.stdout);
    assert!(run.stderr.contains("postgres: started") && run.stderr.contains("→ local"), "{}", run.stderr);
    let quiet = test_env.longshore(&["run", "--quiet"]).expect(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn every_query_verb_prints_json() {
    let test_env = TestEnv::new();
    let run = test_env.json(&["run", "--json"]);
    assert_eq!(run["job"], "nightly");
    assert_eq!(run["artifacts"][0]["subject"]["kind"], "globals");
    let sealed = run["artifacts"][1]["sealed_bytes"].as_u64().unwrap();
    let list = test_env.json(&["list", "postgres", "--json"]);
    assert_eq!(list[0]["artifact"]["sealed"]["bytes"], sealed);
    assert_eq!(list[0]["run"], run["run"]);
    assert_eq!(test_env.json(&["check", "--json"])[0]["outcome"], "good");
    assert_eq!(test_env.json(&["verify", "--json"])[0]["depth"], "sealed");
    assert!(test_env.json(&["prune", "--dry-run", "--json"]).as_array().unwrap().is_empty());
}

#[test]
fn destination_is_readable_from_any_host() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.longshore(&["run"]).expect(0);
    // Another host with another configuration and another job, but the same destination.
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    let other_config = test_env.path("elsewhere.toml");
    let config = config.replace("job.nightly", "job.other").replace("connection", "bin_dir = '/nowhere'\nconnection");
    std::fs::write(&other_config, config).unwrap();
    let mut list = test_env.command();
    finish(list.args(["list", "--all", "--config"]).arg(&other_config)).expect(0).shows("main/appdb/appdb-");
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let mut restore = test_env.command();
    restore.args(["restore", "appdb", "--create", "--to", &to, "--config"]).arg(&other_config);
    finish(restore.arg("--identity").arg(test_env.identity())).expect(0);
}

#[test]
fn foreign_files_are_counted_and_not_damage() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["list"]).expect(0).omits("to no backup");
    let backups = test_env.json(&["list", "--json"]);
    for stranger in ["notes.json", "main/notes.json", "main/postgres/postgres-2026-06-07_091500.dump.zst.age"] {
        std::fs::write(test_env.local().join(stranger), "of another program").unwrap();
    }
    let list = test_env.longshore(&["list"]).expect(0).shows("3 files belong to no backup (3 at \"local\")");
    assert!(!list.stdout.contains("to no backup"), "{}", list.stdout);
    assert_eq!(test_env.json(&["list", "--json"]).as_array().unwrap().len(), backups.as_array().unwrap().len());
}

#[test]
fn list_names_the_job_of_each_backup() {
    let test_env = TestEnv::new();
    let more = "[job.hourly]\ncluster = 'main'\ndump = [{ type = 'pg_dumpall', what = 'roles' }]\nencrypt = { type = 'none' }\nship = ['local']";
    test_env.configure(&Job { more, ..Job::default() });
    test_env.longshore(&["run", "nightly"]).expect(0);
    test_env.longshore(&["list"]).expect(0).omits("JOB").stdout_omits("nightly");
    test_env.longshore(&["run", "hourly"]).expect(0);
    test_env.longshore(&["list"]).expect(0).shows("JOB").shows("  nightly  ").shows("  hourly  ");
}

#[test]
fn excessive_parallel_dumps_are_refused() {
    let test_env = TestEnv::new();
    for (parallel, code) in [("0", 1), ("64", 0), ("65", 1)] {
        test_env.configure(&Job { more: &format!("parallel = {parallel}"), ..Job::default() });
        let result = test_env.longshore(&["list"]).expect(code);
        if code == 1 {
            result.shows("job \"nightly\": parallel must be from 1 to 64");
        }
    }
}

#[test]
fn closed_output_pipe_is_no_error() {
    let test_env = TestEnv::new();
    let mut shell = std::process::Command::new("bash");
    let script = "set -o pipefail; \"$0\" --config \"$1\" check | head -n 1";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_longshore")]).arg(test_env.config_path());
    finish(&mut shell).expect(0);
}

#[test]
fn prints_completions_and_man_pages() {
    let test_env = TestEnv::new();
    test_env.longshore(&["completions", "bash"]).expect(0).shows("_longshore");
    let man = test_env.path("share/man/man1");
    test_env.longshore(&["man", man.to_str().unwrap()]).expect(0);
    assert!(man.join("longshore-restore.1").exists());
    for (page, content) in [("man5/longshore-config.5", "stall_timeout"), ("man7/longshore-retention.7", "keep_last")] {
        let page = std::fs::read_to_string(test_env.path("share/man").join(page)).unwrap();
        assert!(page.contains(".TH") && page.contains(content), "{page}");
    }
    // A new version replaces the pages of an old one.
    let old = ".TH longshore 1  \"longshore 0.0.1\"\n.SH NAME\nlongshore - old\n";
    std::fs::write(man.join("longshore.1"), old).unwrap();
    test_env.longshore(&["man", man.to_str().unwrap()]).expect(0);
    assert!(!std::fs::read_to_string(man.join("longshore.1")).unwrap().contains("0.0.1"));
    // No other file is overwritten, and no partial set of pages remains.
    std::fs::write(man.join("longshore.1"), "mine").unwrap();
    std::fs::remove_file(man.join("longshore-restore.1")).unwrap();
    test_env.longshore(&["man", man.to_str().unwrap()]).expect(6).shows("already exists");
    assert_eq!(std::fs::read_to_string(man.join("longshore.1")).unwrap(), "mine");
    assert!(!man.join("longshore-restore.1").exists());
    let is_page = |name: &str| name.ends_with(".1");
    assert!(crate::support::files(&man).iter().all(|name| is_page(name)), "{:?}", crate::support::files(&man));
    std::fs::remove_dir_all(test_env.path("share/man")).unwrap();
    test_env.longshore(&["man", man.to_str().unwrap()]).expect(0);
    for public in [test_env.path("share"), man.join("longshore.1")] {
        assert_eq!(public.metadata().unwrap().permissions().mode() & 0o044, 0o044, "{public:?}");
    }
}

#[test]
fn usage_error_exits_1_and_help_exits_0() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run", "--nothing"]).expect(1).shows("--nothing");
    test_env.longshore(&["run", "weekly"]).expect(1).shows("the jobs are \"nightly\"");
    test_env.longshore(&["--help"]).expect(0).shows("Exit codes");
}
