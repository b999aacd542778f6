//! `inspect` tells what is in a dump, whoever made it and whatever it is wrapped in, and judges it; so does every run.

use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::sample::{self, SHOP};
use serde_json::Value;

use crate::support::{Job, Workshop, files, finish, manifest};

fn with_shop() -> Workshop {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 200);
    workshop
}

/// Dumps the shop as a user would, by a shell command whose `$db` names it, into a file that the command gets as `$out`.
fn by_hand(workshop: &Workshop, name: &str, command: &str) -> PathBuf {
    let out = workshop.path(name);
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-ec", command]).env("out", &out).env("recipient", workshop.recipient());
    shell.env("db", format!("{} dbname={SHOP}", workshop.cluster.connection()));
    shell.env("PATH", format!("{}:/usr/bin:/bin", workshop.cluster.bin_dir().display()));
    finish(&mut shell).expect(0);
    out
}

fn json(workshop: &Workshop, path: &Path) -> Value {
    let (path, identity) = (path.to_str().unwrap(), workshop.identity());
    workshop.json(&["inspect", path, "--json", "--identity", identity.to_str().unwrap()])
}

#[test]
fn a_dump_of_any_format_in_any_wrapping_is_told_apart_and_counted() {
    let workshop = with_shop();
    let count = workshop.cluster.psql(SHOP, "SELECT count(*) FROM ONLY shop.customer");
    let dumps = [
        ("custom", "pg_dump -Fc \"$db\" > $out", vec![]),
        ("custom.age", "pg_dump -Fc \"$db\" | age -r $recipient > $out", vec!["age"]),
        ("armored.age", "pg_dump -Fc \"$db\" | age -a -r $recipient > $out", vec!["age"]),
        ("custom.zst.age", "pg_dump -Fc -Z0 \"$db\" | zstd -q | age -r $recipient > $out", vec!["age", "zstd"]),
        ("plain.sql.gz", "pg_dump \"$db\" | gzip > $out", vec!["gzip"]),
        ("tar", "pg_dump -Ft \"$db\" > $out", vec![]),
        ("directory", "pg_dump -Fd -j2 -f $out \"$db\"", vec![]),
        ("packed.tar", "pg_dump -Fd -f $out.d \"$db\"; tar -C $out.d -cf $out .", vec![]),
        ("packed.tar.gz", "pg_dump -Fd -f $out.d \"$db\"; tar -czf $out -C ${out%/*} ${out##*/}.d", vec!["gzip"]),
    ];
    let mut tables = None;
    for (name, command, wrappings) in dumps {
        let told = json(&workshop, &by_hand(&workshop, name, command));
        assert_eq!(told["wrappings"], Value::from(wrappings), "{name}");
        let mut found: Vec<_> = told["archive"]["tables"].as_array().unwrap().clone();
        found.sort_by_key(|table| table.to_string());
        assert_eq!(tables.get_or_insert_with(|| found.clone()), &found, "{name}");
        let path = workshop.path(name);
        workshop.opening(&["inspect", "--check", path.to_str().unwrap()]).expect(0).says("sound: read to its end");
    }
    let customer = tables.unwrap().into_iter().find(|table| table["name"] == "customer").unwrap();
    assert_eq!(customer["rows"].to_string(), count.trim());
}

#[test]
fn a_dump_on_stdin_and_the_globals_are_judged_too() {
    let workshop = with_shop();
    let longshore = workshop.command().get_program().to_owned();
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", "pg_dump -Fc -Z0 \"$db\" | \"$longshore\" inspect --check -"]);
    shell.env("db", format!("{} dbname={SHOP}", workshop.cluster.connection())).env("longshore", longshore);
    finish(&mut shell).expect(0).says("-: sound: read to its end");
    let globals = by_hand(&workshop, "globals.sql", "pg_dumpall --globals-only -d \"$db\" > $out");
    let told = json(&workshop, &globals);
    assert_eq!(told["archive"]["kind"], "cluster_script");
    let globals = globals.to_str().unwrap();
    workshop.longshore(&["inspect", "--list", globals]).expect(1).says("no table of contents");
    let cut = workshop.path("cut.sql");
    std::fs::write(&cut, &std::fs::read(globals).unwrap()[..200]).unwrap();
    workshop.longshore(&["inspect", "--check", cut.to_str().unwrap()]).expect(4).says("cut.sql").says("it is cut");
}

#[test]
fn damage_is_said_with_its_place_and_exit_code() {
    let workshop = with_shop();
    let dump = by_hand(&workshop, "whole", "pg_dump -Fc -Z0 -f $out \"$db\"");
    let whole = std::fs::read(&dump).unwrap();
    let cut = workshop.path("cut");
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let cut = cut.to_str().unwrap();
    for arguments in
        [&["inspect", cut][..], &["inspect", "--check", cut], &["inspect", "--list", cut], &["inspect", "--json", cut]]
    {
        workshop.longshore(arguments).expect(4).says("at byte").says("it is cut").keeps_quiet_about("sound");
    }
    // What `pg_restore --list` and a restore from a file pass over.
    let mut zeroed = whole.clone();
    let middle = zeroed.len() / 2;
    zeroed[middle..middle + 4096].fill(0);
    let path = workshop.path("zeroed");
    std::fs::write(&path, zeroed).unwrap();
    workshop.longshore(&["inspect", "--check", path.to_str().unwrap()]).expect(4).says("table");
}

#[test]
fn what_is_no_dump_is_said_to_be_none() {
    let workshop = Workshop::new();
    for (name, content, words) in [
        ("empty", &b""[..], "nothing at all"),
        ("text", b"hello, world\n", "neither an archive"),
        ("folder/file", b"x", "without toc.dat"),
    ] {
        let path = workshop.path(name);
        if let Some(("folder", _)) = name.split_once('/') {
            workshop.make_folder("folder");
        }
        std::fs::write(&path, content).unwrap();
        let shown = if name.contains('/') { path.parent().unwrap() } else { &path };
        let ended = workshop.longshore(&["inspect", shown.to_str().unwrap()]);
        assert!(matches!(ended.code, Some(1 | 4)), "{name}: {ended:?}");
        ended.says(words);
    }
    workshop.longshore(&["inspect", "nothing-of-that-name"]).expect(2).says("no file \"nothing-of-that-name\"");
}

#[test]
fn a_sealed_file_without_an_identity_says_what_is_missing() {
    let workshop = with_shop();
    let sealed = by_hand(&workshop, "sealed.age", "pg_dump -Fc \"$db\" | age -r $recipient > $out");
    workshop.longshore(&["inspect", sealed.to_str().unwrap()]).expect(1).says("--identity");
}

#[test]
fn a_run_records_what_it_dumped_openly_in_counts_and_sealed_in_names() {
    let workshop = with_shop();
    workshop.longshore(&["run"]).expect(0);
    let folder = workshop.local().join("main").join(SHOP);
    let open = std::fs::read_to_string(manifest(&folder)).unwrap();
    assert!(open.contains("\"rows\"") && !open.contains("customer"), "{open}");

    // From the record, and from a reading of all of it.
    workshop.opening(&["inspect", SHOP]).expect(0).says("while it was dumped").says("shop.customer");
    workshop.longshore(&["inspect", SHOP]).expect(1).says("--identity");
    let identity = workshop.identity();
    let of = |more: &[&str]| {
        let mut arguments = vec!["inspect", SHOP, "--json", "--identity", identity.to_str().unwrap()];
        arguments.extend(more);
        workshop.json(&arguments)
    };
    let (record, reading) = (of(&[]), of(&["--check"]));
    assert_eq!((&record["from"], &reading["from"]), (&"record".into(), &"reading".into()));
    assert_eq!(record["archive"], reading["archive"]);

    // The table of contents is pg_restore's.
    let listed = workshop.opening(&["inspect", "--list", SHOP]).expect(0);
    let by_hand = by_hand(
        &workshop,
        "list",
        "pg_dump -Fc -f $out.dump \"$db\"; pg_restore --list $out.dump | grep -v '^;' > $out",
    );
    assert_eq!(listed.stdout, std::fs::read_to_string(by_hand).unwrap());
}

#[test]
fn a_dump_that_loses_rows_on_its_way_is_no_backup() {
    // A pg_dump that leaves an item early, writes the rest, and says that all is well.
    let workshop = with_shop();
    let programs = workshop.make_folder("programs");
    let real = workshop.cluster.bin_dir().join("pg_dump");
    let script = format!(
        "#!/bin/bash\nset -o pipefail\ncase \"$*\" in *--version*) exec {0} \"$@\";; esac\n\
         {0} \"$@\" | perl -0777 -pe 's/(\\x00.\\x00\\x00\\x00\\d+\\t[^\\n]*\\n)/\\x00\\x00\\x00\\x00\\x00/'\n",
        real.display()
    );
    std::fs::write(programs.join("pg_dump"), script).unwrap();
    for program in ["psql", "pg_dumpall", "pg_restore"] {
        std::os::unix::fs::symlink(workshop.cluster.bin_dir().join(program), programs.join(program)).unwrap();
    }
    let mut mode = std::fs::metadata(programs.join("pg_dump")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    std::fs::set_permissions(programs.join("pg_dump"), mode).unwrap();
    let more = format!("bin_dir = \"{}\"", programs.display());
    workshop.configure(&Job { cluster: &more, ..Job::default() });
    workshop.longshore(&["run"]).expect(3).says("data of table");
    let shipped = files(&workshop.local());
    assert!(!shipped.iter().any(|name| name.contains("/shop/")), "{shipped:?}");
}

#[test]
fn a_terminal_shows_which_table_is_dumped_and_how_many_are_done() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 60);
    workshop.cluster.psql("bulk", "CREATE TABLE another AS SELECT 1 AS id");
    let line = format!("'{}' --config '{}' run", env!("CARGO_BIN_EXE_longshore"), workshop.config_path().display());
    // script gives the program a terminal of its own, and keeps what is shown there.
    let mut shell = Command::new("script");
    shell.args(["--quiet", "--return", "--flush", "--command", &line]).arg(workshop.path("seen"));
    let seen = finish(shell.env("HOME", workshop.path("")).env("COLUMNS", "200")).expect(0);
    let shown = seen.stdout.lines().any(|line| line.contains("public.") && line.contains(" of 2 done"));
    assert!(shown, "{}", seen.stdout);
}
