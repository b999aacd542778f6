//! Text is for people, JSON for programs, and the exit code for both.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Job, Workshop, finish};

#[test]
fn results_go_to_stdout_and_progress_to_stderr_and_quiet_silences_it() {
    let workshop = Workshop::new();
    let run = workshop.longshore(&["run"]).expect(0);
    assert!(run.stdout.starts_with("ARTIFACT") && run.stdout.contains("postgres"), "{}", run.stdout);
    assert!(run.stderr.contains("postgres: started") && run.stderr.contains("→ local"), "{}", run.stderr);
    let quiet = workshop.longshore(&["run", "--quiet"]).expect(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn every_verb_that_finds_something_out_speaks_json() {
    let workshop = Workshop::new();
    let run = workshop.json(&["run", "--json"]);
    assert_eq!(run["job"], "nightly");
    assert_eq!(run["artifacts"][0]["subject"]["kind"], "globals");
    let sealed = run["artifacts"][1]["sealed_bytes"].as_u64().unwrap();
    let list = workshop.json(&["list", "postgres", "--json"]);
    assert_eq!(list[0]["artifact"]["sealed"]["bytes"], sealed);
    assert_eq!(list[0]["run"], run["run"]);
    assert_eq!(workshop.json(&["check", "--json"])[0]["outcome"], "good");
    assert_eq!(workshop.json(&["verify", "--json"])[0]["depth"], "sealed");
    assert!(workshop.json(&["prune", "--dry-run", "--json"]).as_array().unwrap().is_empty());
}

#[test]
fn a_destination_describes_itself_to_any_host() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.longshore(&["run"]).expect(0);
    // Another host with another configuration and another job, but the same destination.
    let config = std::fs::read_to_string(workshop.config_path()).unwrap();
    let elsewhere = workshop.path("elsewhere.toml");
    let config = config.replace("job.nightly", "job.other").replace("connection", "bin_dir = '/nowhere'\nconnection");
    std::fs::write(&elsewhere, config).unwrap();
    let mut list = workshop.command();
    finish(list.args(["list", "--all", "--config"]).arg(&elsewhere)).expect(0).says("main/appdb/appdb-");
    let to = format!("{} dbname=again", workshop.cluster.connection());
    let mut restore = workshop.command();
    restore.args(["restore", "appdb", "--create", "--to", &to, "--config"]).arg(&elsewhere);
    finish(restore.arg("--identity").arg(workshop.identity())).expect(0);
}

#[test]
fn what_belongs_to_no_backup_is_counted_and_is_no_damage() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["list"]).expect(0).keeps_quiet_about("to no backup");
    let backups = workshop.json(&["list", "--json"]);
    for stranger in ["notes.json", "main/notes.json", "main/postgres/postgres-2026-06-07_091500.dump.zst.age"] {
        std::fs::write(workshop.local().join(stranger), "of another program").unwrap();
    }
    let list = workshop.longshore(&["list"]).expect(0).says("3 files belong to no backup (3 at \"local\")");
    assert!(!list.stdout.contains("to no backup"), "{}", list.stdout);
    assert_eq!(workshop.json(&["list", "--json"]).as_array().unwrap().len(), backups.as_array().unwrap().len());
}

#[test]
fn backups_of_several_jobs_are_listed_with_their_jobs() {
    let workshop = Workshop::new();
    let more = "[job.hourly]\ncluster = 'main'\ndump = [{ type = 'pg_dumpall', what = 'roles' }]\nencrypt = { type = 'none' }\nship = ['local']";
    workshop.configure(&Job { more, ..Job::default() });
    workshop.longshore(&["run", "nightly"]).expect(0);
    workshop.longshore(&["list"]).expect(0).keeps_quiet_about("JOB").keeps_quiet_about("nightly");
    workshop.longshore(&["run", "hourly"]).expect(0);
    workshop.longshore(&["list"]).expect(0).says("JOB").says("  nightly  ").says("  hourly  ");
}

#[test]
fn more_dumps_at_once_than_any_server_likes_are_refused() {
    let workshop = Workshop::new();
    for (parallel, code) in [("0", 1), ("64", 0), ("65", 1)] {
        workshop.configure(&Job { more: &format!("parallel = {parallel}"), ..Job::default() });
        let ended = workshop.longshore(&["list"]).expect(code);
        if code == 1 {
            ended.says("job \"nightly\": parallel must be from 1 to 64");
        }
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let workshop = Workshop::new();
    let mut shell = std::process::Command::new("bash");
    let script = "set -o pipefail; \"$0\" --config \"$1\" check | head -n 1";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_longshore")]).arg(workshop.config_path());
    finish(&mut shell).expect(0);
}

#[test]
fn completions_and_man_pages_are_made() {
    let workshop = Workshop::new();
    workshop.longshore(&["completions", "bash"]).expect(0).says("_longshore");
    let man = workshop.path("share/man/man1");
    workshop.longshore(&["man", man.to_str().unwrap()]).expect(0);
    assert!(man.join("longshore-restore.1").exists());
    for (page, content) in [("man5/longshore-config.5", "stall_timeout"), ("man7/longshore-retention.7", "keep_last")] {
        let page = std::fs::read_to_string(workshop.path("share/man").join(page)).unwrap();
        assert!(page.contains(".TH") && page.contains(content), "{page}");
    }
    // No page is overwritten, and no partial set of pages remains.
    std::fs::write(man.join("longshore.1"), "mine").unwrap();
    std::fs::remove_file(man.join("longshore-restore.1")).unwrap();
    workshop.longshore(&["man", man.to_str().unwrap()]).expect(6).says("already exists");
    assert_eq!(std::fs::read_to_string(man.join("longshore.1")).unwrap(), "mine");
    assert!(!man.join("longshore-restore.1").exists());
    let is_page = |name: &str| name.ends_with(".1");
    assert!(crate::support::files(&man).iter().all(|name| is_page(name)), "{:?}", crate::support::files(&man));
    std::fs::remove_dir_all(workshop.path("share/man")).unwrap();
    workshop.longshore(&["man", man.to_str().unwrap()]).expect(0);
    for public in [workshop.path("share"), man.join("longshore.1")] {
        assert_eq!(public.metadata().unwrap().permissions().mode() & 0o044, 0o044, "{public:?}");
    }
}

#[test]
fn what_is_mistyped_exits_1_and_help_exits_0() {
    let workshop = Workshop::new();
    workshop.longshore(&["run", "--nothing"]).expect(1).says("--nothing");
    workshop.longshore(&["run", "weekly"]).expect(1).says("the jobs are \"nightly\"");
    workshop.longshore(&["--help"]).expect(0).says("Exit codes");
}
