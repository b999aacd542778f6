//! Longshore never reports success for a backup that failed, and a failed backup leaves no files
//! that could pass for a backup.

use crate::support::{Ended, Job, Tmpfs, Workshop, files};

/// Returns a workshop whose job dumps one large database.
fn bulk() -> Workshop {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 96);
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    workshop
}

#[test]
fn a_dump_that_fails_half_way_leaves_nothing_behind() {
    let workshop = bulk();
    let run = workshop.start(&["run"]);
    let backend = workshop.wait_for_backend("COPY%bulk%");
    workshop.cluster.psql("postgres", &format!("select pg_terminate_backend({backend})"));
    let ended = Ended::of(run.wait_with_output().unwrap()).expect(2);
    ended.says("pg_dump ended with exit status 1").says("pg_dump: error: ");
    assert_eq!(files(&workshop.local()), [""; 0]);
    workshop.longshore(&["list"]).expect(0).says("no backups");
}

#[test]
fn a_dump_killed_by_a_signal_leaves_nothing() {
    let workshop = bulk();
    let run = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%bulk%");
    let pg_dump = children(run.id()).into_iter().find(|(_, name)| name == "pg_dump").expect("pg_dump runs").0;
    let killed = std::process::Command::new("kill").args(["-9", &pg_dump]).status().unwrap();
    assert!(killed.success());
    Ended::of(run.wait_with_output().unwrap()).expect(2).says("pg_dump was killed by signal 9");
    assert_eq!(files(&workshop.local()), [""; 0]);
}

#[test]
fn a_check_that_fails_leaves_nothing() {
    let workshop = Workshop::new();
    // A pg_restore that reports damage for every archive.
    let bin = workshop.make_folder("bin");
    for tool in ["pg_dump", "pg_dumpall", "psql"] {
        std::os::unix::fs::symlink(workshop.cluster.bin_dir().join(tool), bin.join(tool)).unwrap();
    }
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && exec echo 'pg_restore (PostgreSQL) 99.0'\ncat >/dev/null\necho 'could not read block' >&2\nexit 1\n";
    std::fs::write(bin.join("pg_restore"), script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(bin.join("pg_restore"), executable).unwrap();
    let cluster = format!("bin_dir = '{}'", bin.display());
    let more = "verify = [{ type = 'pg_restore' }]";
    workshop.configure(&Job { dump: "[{ type = 'pg_dump' }]", cluster: &cluster, more, ..Job::default() });
    workshop.longshore(&["run"]).expect(2).says("pg_restore ended with exit status 1").says("could not read block");
    assert_eq!(files(&workshop.local()), [""; 0]);
}

#[test]
fn disk_full_leaves_nothing_and_says_so() {
    let workshop = bulk();
    let folder = workshop.make_folder("small");
    let _disk = Tmpfs::mount(&folder, "8m");
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    workshop.configure(&Job { dump, ship: &[("small", &folder)], ..Job::default() });
    let ended = workshop.longshore(&["run"]).expect(2);
    ended.says("no space left").says("hint:").says("less than");
    assert_eq!(files(&folder), [""; 0]);
}

#[test]
fn a_database_that_fails_hinders_no_other() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("broken");
    workshop.cluster.create_database("sound");
    workshop.cluster.psql("broken", "create table t (x int); ");
    // A dump cannot lock a table that another session has locked.
    let held = workshop.hold("broken", "t");
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dump', databases = ['broken', 'sound'], lock_wait_timeout = '300ms' }]",
        ..Job::default()
    });
    let ended = workshop.longshore(&["run"]).expect(3);
    drop(held);
    ended.says("broken: ").says("another session holds a lock").says("hint: ");
    let lines = workshop.json(&["list", "--json"]);
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
