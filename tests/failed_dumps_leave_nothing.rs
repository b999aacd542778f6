//! Longshore never reports success for a backup that failed, and a failed backup leaves no files
//! that could pass for a backup.

use crate::support::{CommandOutput, Job, TestEnv, Tmpfs, files};

/// Returns an environment whose job dumps one large database.
fn bulk() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 96);
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    test_env
}

#[test]
fn dump_failing_midway_leaves_nothing() {
    let test_env = bulk();
    let run = test_env.start(&["run"]);
    let backend = test_env.wait_for_backend("COPY%bulk%");
    test_env.cluster.psql("postgres", &format!("select pg_terminate_backend({backend})"));
    let result = CommandOutput::of(run.wait_with_output().unwrap()).expect(2);
    result.shows("pg_dump ended with exit status 1").shows("pg_dump: error: ");
    assert_eq!(files(&test_env.local()), [""; 0]);
    test_env.longshore(&["list"]).expect(0).shows("no backups");
}

#[test]
fn killed_dump_leaves_nothing() {
    let test_env = bulk();
    let run = test_env.start(&["run"]);
    test_env.wait_for_backend("COPY%bulk%");
    let pg_dump = children(run.id()).into_iter().find(|(_, name)| name == "pg_dump").expect("pg_dump runs").0;
    let killed = std::process::Command::new("kill").args(["-9", &pg_dump]).status().unwrap();
    assert!(killed.success());
    CommandOutput::of(run.wait_with_output().unwrap()).expect(2).shows("pg_dump was killed by signal 9");
    assert_eq!(files(&test_env.local()), [""; 0]);
}

#[test]
fn failed_verification_leaves_nothing() {
    let test_env = TestEnv::new();
    // A pg_restore that reports damage for every archive.
    let bin = test_env.make_folder("bin");
    for tool in ["pg_dump", "pg_dumpall", "psql"] {
        std::os::unix::fs::symlink(test_env.cluster.bin_dir().join(tool), bin.join(tool)).unwrap();
    }
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && exec echo 'pg_restore (PostgreSQL) 99.0'\ncat >/dev/null\necho 'could not read block' >&2\nexit 1\n";
    std::fs::write(bin.join("pg_restore"), script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(bin.join("pg_restore"), executable).unwrap();
    let cluster = format!("bin_dir = '{}'", bin.display());
    let more = "verify = [{ type = 'pg_restore' }]";
    test_env.configure(&Job { dump: "[{ type = 'pg_dump' }]", cluster: &cluster, more, ..Job::default() });
    test_env.longshore(&["run"]).expect(2).shows("pg_restore ended with exit status 1").shows("could not read block");
    assert_eq!(files(&test_env.local()), [""; 0]);
}

#[test]
fn full_disk_is_reported_and_leaves_nothing() {
    let test_env = bulk();
    let folder = test_env.make_folder("small");
    let _disk = Tmpfs::mount(&folder, "8m");
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    test_env.configure(&Job { dump, ship: &[("small", &folder)], ..Job::default() });
    let result = test_env.longshore(&["run"]).expect(2);
    result.shows("no space left").shows("hint:").shows("less than");
    assert_eq!(files(&folder), [""; 0]);
}

#[test]
fn failed_dump_affects_no_other_database() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("broken");
    test_env.cluster.create_database("sound");
    test_env.cluster.psql("broken", "create table t (x int); ");
    // A dump cannot lock a table that another session has locked.
    let table_lock = test_env.lock_table("broken", "t");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dump', databases = ['broken', 'sound'], lock_wait_timeout = '300ms' }]",
        ..Job::default()
    });
    let result = test_env.longshore(&["run"]).expect(3);
    drop(table_lock);
    result.shows("broken: ").shows("another session holds a lock").shows("hint: ");
    let lines = test_env.json(&["list", "--json"]);
    assert_eq!(lines.as_array().unwrap().len(), 1);
    assert_eq!(lines[0]["subject"]["name"], "sound");
}

/// Returns the children of a process, by pid and name.
fn children(parent: u32) -> Vec<(String, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    let fields = stats.filter_map(|stat| {
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let of = rest.split(' ').nth(1)?;
        (of == parent.to_string()).then(|| (pid.to_owned(), name.to_owned()))
    });
    fields.collect()
}
