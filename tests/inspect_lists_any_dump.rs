//! `inspect` lists and verifies the content of a dump of any origin and in any wrapping, as every
//! run does.

use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample::{self, SHOP};
use serde_json::Value;

use crate::support::{Job, TestEnv, files, finish, manifest};

fn with_shop() -> TestEnv {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 200);
    test_env
}

/// Dumps the shop by a shell command, which gets the connection string as `$db` and the output file
/// as `$out`.
fn by_hand(test_env: &TestEnv, name: &str, command: &str) -> PathBuf {
    let out = test_env.path(name);
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-ec", command]).env("out", &out).env("recipient", test_env.recipient());
    shell.env("db", format!("{} dbname={SHOP}", test_env.cluster.connection()));
    shell.env("PATH", format!("{}:/usr/bin:/bin", test_env.cluster.bin_dir().display()));
    finish(&mut shell).expect(0);
    out
}

fn json(test_env: &TestEnv, path: &Path) -> Value {
    let (path, identity) = (path.to_str().unwrap(), test_env.identity());
    test_env.json(&["inspect", path, "--json", "--identity", identity.to_str().unwrap()])
}

#[test]
fn recognises_every_format_and_compression() {
    let test_env = with_shop();
    let count = test_env.cluster.psql(SHOP, "SELECT count(*) FROM ONLY shop.customer");
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
        ("labelled.tar", "pg_dump -Fd -f $out.d \"$db\"; tar --label=nightly -C $out.d -cf $out .", vec![]),
        ("pax.tar", "pg_dump -Fd -f $out.d \"$db\"; tar --format=pax -C $out.d -cf $out .", vec![]),
        (
            "long.tar",
            "f=$out.d/$(printf %0120d 0)/d; mkdir -p $f; pg_dump -Fd -f $f \"$db\"; tar -C $out.d -cf $out .",
            vec![],
        ),
        (
            "repacked.tar",
            "mkdir $out.d; cd $out.d; pg_dump -Ft \"$db\" > t; tar -xf t; tar --format=ustar -cf $out $(tar -tf t)",
            vec![],
        ),
        ("padded.sql.gz", "{ pg_dump \"$db\" | gzip; head -c 9999 /dev/zero; } > $out", vec!["gzip"]),
        ("longer.sql", "{ pg_dump \"$db\"; echo; echo; } > $out", vec![]),
    ];
    let mut tables = None;
    for (name, command, wrappings) in dumps {
        let result = json(&test_env, &by_hand(&test_env, name, command));
        assert_eq!(result["wrappings"], Value::from(wrappings), "{name}");
        let mut found: Vec<_> = result["archive"]["tables"].as_array().unwrap().clone();
        found.sort_by_key(|table| table.to_string());
        assert_eq!(tables.get_or_insert_with(|| found.clone()), &found, "{name}");
        let path = test_env.path(name);
        test_env
            .run_with_identity(&["inspect", "--check", path.to_str().unwrap()])
            .expect(0)
            .shows("verified: read to its end");
    }
    let customer = tables.unwrap().into_iter().find(|table| table["name"] == "customer").unwrap();
    assert_eq!(customer["rows"].to_string(), count.trim());
}

#[test]
fn tar_refused_by_pg_restore_is_not_valid() {
    let test_env = with_shop();
    let unpacked = "mkdir $out.d; cd $out.d; pg_dump -Ft \"$db\" > ../t.tar; tar -xf ../t.tar";
    for (name, pack) in [
        ("folder.tar", "tar -cf $out ."),
        ("last.tar", "tar -cf $out $(ls | grep -v toc.dat) toc.dat"),
        ("reversed.tar", "tar -cf $out toc.dat $(ls -r | grep -v toc.dat)"),
        ("old.tar", "tar --format=v7 -cf $out $(tar -tf ../t.tar)"),
        ("reversed.pax.tar", "tar --format=pax -cf $out toc.dat $(ls -r | grep -v toc.dat)"),
    ] {
        let path = by_hand(&test_env, name, &format!("{unpacked}; {pack}"));
        let pg_restore = Command::new(test_env.cluster.bin_dir().join("pg_restore")).arg("-f-").arg(&path).output();
        assert!(!pg_restore.unwrap().status.success(), "{name}");
        let result = test_env.longshore(&["inspect", "--check", path.to_str().unwrap()]).expect(1);
        result.shows("pg_restore cannot read it").shows("hint: unpack it, and pack its files again");
    }
}

#[test]
fn converted_script_has_a_hint() {
    let test_env = with_shop();
    for (name, convert, named, way_back) in [
        ("crlf.sql", "sed 's/$/\\r/'", "carriage return (CRLF)", "sed 's/\\r$//' FILE"),
        ("bom.sql", "sed '1s/^/\\xef\\xbb\\xbf/'", "byte order mark (BOM)", "tail -c +4 FILE"),
        ("utf16.sql", "sed 's/$/\\r/' | iconv -t UTF-16", "UTF-16", "iconv -f UTF-16"),
        ("utf16.sql.gz", "sed 's/$/\\r/' | iconv -t UTF-16LE | gzip", "UTF-16", "iconv -f UTF-16"),
    ] {
        let path = by_hand(&test_env, name, &format!("pg_dump \"$db\" | {convert} > $out"));
        let result = test_env.longshore(&["inspect", "--check", path.to_str().unwrap()]).expect(1);
        result.shows(named).shows(way_back);
    }
    let path = by_hand(&test_env, "terminal.dump", "pg_dump -Fc \"$db\" | sed 's/$/\\r/' > $out");
    test_env.longshore(&["inspect", path.to_str().unwrap()]).expect(4).shows("docker exec");
    // The suggested commands restore the original bytes.
    let undo = "pg_dump \"$db\" > $out.before; sed 's/$/\\r/' $out.before | iconv -t UTF-16 > $out.after; \
                iconv -f UTF-16 -t UTF-8 $out.after | sed 's/\\r$//' > $out; cmp $out $out.before";
    let path = by_hand(&test_env, "back.sql", undo);
    test_env.longshore(&["inspect", "--check", path.to_str().unwrap()]).expect(0);
}

#[test]
fn inspects_stdin_and_globals() {
    let test_env = with_shop();
    let longshore = env!("CARGO_BIN_EXE_longshore");
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", "pg_dump -Fc -Z0 \"$db\" | \"$longshore\" inspect --check -"]);
    shell.env("db", format!("{} dbname={SHOP}", test_env.cluster.connection())).env("longshore", longshore);
    finish(&mut shell).expect(0).shows("-: verified: read to its end");
    let globals = by_hand(&test_env, "globals.sql", "pg_dumpall --globals-only -d \"$db\" > $out");
    let result = json(&test_env, &globals);
    assert_eq!(result["archive"]["kind"], "cluster_script");
    let globals = globals.to_str().unwrap();
    test_env.longshore(&["inspect", "--list", globals]).expect(1).shows("no table of contents");
    let cut = test_env.path("cut.sql");
    std::fs::write(&cut, &std::fs::read(globals).unwrap()[..200]).unwrap();
    test_env.longshore(&["inspect", "--check", cut.to_str().unwrap()]).expect(4).shows("cut.sql").shows("it is cut");
}

#[test]
fn damage_has_position_and_exit_code() {
    let test_env = with_shop();
    let dump = by_hand(&test_env, "whole", "pg_dump -Fc -Z0 -f $out \"$db\"");
    let whole = std::fs::read(&dump).unwrap();
    let cut = test_env.path("cut");
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let cut = cut.to_str().unwrap();
    for arguments in
        [&["inspect", cut][..], &["inspect", "--check", cut], &["inspect", "--list", cut], &["inspect", "--json", cut]]
    {
        test_env.longshore(arguments).expect(4).shows("at byte").shows("it is cut").omits("verified:");
    }
    // Damage that `pg_restore --list` and a restore from a file do not detect.
    let mut zeroed = whole.clone();
    let middle = zeroed.len() / 2;
    zeroed[middle..middle + 4096].fill(0);
    let path = test_env.path("zeroed");
    std::fs::write(&path, zeroed).unwrap();
    test_env.longshore(&["inspect", "--check", path.to_str().unwrap()]).expect(4).shows("table");
}

#[test]
fn decompresses_dumps_of_newer_pg_dump() {
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::newer(), &[]));
    sample::load(&test_env.cluster, 200);
    for compression in ["gzip", "lz4", "zstd"] {
        let dump = by_hand(&test_env, compression, &format!("pg_dump -Fp -Z {compression} -f $out \"$db\""));
        let result = json(&test_env, &dump);
        assert_eq!(result["wrappings"], Value::from(vec![compression]));
        assert_eq!(result["archive"]["kind"], "script");
        let whole = std::fs::read(&dump).unwrap();
        let cut = test_env.path("cut");
        std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
        test_env
            .longshore(&["inspect", "--check", cut.to_str().unwrap()])
            .expect(4)
            .shows("cannot decompress: incomplete or damaged");
        std::fs::write(&cut, [&whole[..], b"x"].concat()).unwrap();
        test_env.longshore(&["inspect", "--check", cut.to_str().unwrap()]).expect(4);
    }
}

#[test]
fn other_files_in_a_folder_are_ignored_and_named() {
    let test_env = with_shop();
    let folder = by_hand(
        &test_env,
        "folder",
        "pg_dump -Fd -f $out \"$db\"; cd $out; echo x > README; mkdir empty more; echo x > more/x; mkfifo fifo; ln -s /etc/passwd link",
    );
    let tar = by_hand(&test_env, "tar", "tar -C ${out%/*}/folder -cf $out .");
    for (dump, names) in [
        (&folder, vec!["README", "empty/", "fifo", "link", "more/"]),
        (&tar, vec!["README", "empty/", "fifo", "link", "more/", "more/x"]),
    ] {
        let path = dump.to_str().unwrap();
        let result = &json(&test_env, dump)["archive"]["others"];
        let mut found: Vec<_> = result["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!((found, result["count"].as_u64()), (names.clone(), Some(names.len() as u64)));
        test_env.longshore(&["inspect", path]).expect(0).shows("ignored      ").shows("README");
        test_env
            .longshore(&["inspect", "--check", path])
            .expect(0)
            .shows("verified: ")
            .shows("ignored, as by pg_restore: ");
    }
    let linked = by_hand(
        &test_env,
        "linked",
        "pg_dump -Fd -f $out \"$db\"; cd $out; f=$(ls *.dat.gz | head -1); mv $f ../$f; ln -s ../$f $f",
    );
    test_env.longshore(&["inspect", linked.to_str().unwrap()]).expect(1).shows("tar --dereference");
    let renamed =
        by_hand(&test_env, "renamed", "pg_dump -Fd -f $out \"$db\"; cd $out; f=$(ls *.dat.gz | head -1); mv $f $f.old");
    test_env.longshore(&["inspect", renamed.to_str().unwrap()]).expect(4).shows("is missing");
}

#[test]
fn other_files_are_reported_as_no_dump() {
    let test_env = TestEnv::new();
    for (name, content, code, words) in [
        ("empty", &b""[..], 4, "the archive is empty"),
        ("text", b"hello, world\n", 1, "neither a PostgreSQL archive"),
        ("folder/file", b"x", 1, "has no toc.dat"),
        ("new", b"PGDMP\x01\x63\x00\x04\x08\x01", 1, "`pg_restore --list`"),
        ("list/toc.dat", b"PGDMP\x01\x0e\x00\x04\x08\x03", 1, "give the folder"),
        ("lzop", b"\x89LZO\0\r\n\x1a\n", 1, "lzop -dc FILE | longshore inspect -"),
        ("xz", b"\xfd7zXZ\0\0\x04", 4, "incomplete or damaged xz file"),
    ] {
        let path = test_env.path(name);
        if name.contains('/') {
            std::fs::create_dir(path.parent().unwrap()).unwrap();
        }
        std::fs::write(&path, content).unwrap();
        let shown = if name == "folder/file" { path.parent().unwrap() } else { &path };
        let result = test_env.longshore(&["inspect", "--check", shown.to_str().unwrap()]);
        result.expect(code).shows(words).omits("verify = ");
    }
    test_env.longshore(&["inspect", "nothing-of-that-name"]).expect(1).shows("no file \"nothing-of-that-name\"");
    std::fs::remove_file(test_env.config_path()).unwrap();
    let result = test_env.longshore(&["inspect", "--check", "./nonono"]).expect(2);
    assert!(result.stderr.starts_with("error: verify \"./nonono\": no such file"), "{result:?}");
}

#[test]
fn tar_of_other_content_is_not_damage() {
    let test_env = with_shop();
    for (name, command, code, words) in [
        (
            "source.tar",
            "mkdir $out.d; cd $out.d; echo x > a.c; ln -s a.c b.c; ln a.c c.c; touch $(printf %0150d 0); tar -cf $out .",
            1,
            "this tar is not a dump",
        ),
        ("absolute.tar", "pg_dump -Fd -f $out.d \"$db\"; tar -P -cf $out $out.d", 1, "pack it with: tar"),
        (
            "outside.tar",
            "mkdir $out.w; pg_dump -Fd -f $out.d \"$db\"; cd $out.w; tar -P -cf $out ../${out##*/}.d",
            1,
            "pack it with: tar",
        ),
        (
            "both.tar",
            "mkdir $out.d; pg_dump -Fd -f $out.d/a \"$db\"; pg_dump -Fd -f $out.d/b \"$db\"; tar -C $out.d -cf $out .",
            1,
            "give one of the folders",
        ),
        (
            "without.tar",
            "pg_dump -Fd -f $out.d \"$db\"; rm $out.d/toc.dat; tar -C $out.d -cf $out .",
            4,
            "toc.dat is missing",
        ),
    ] {
        let tar = by_hand(&test_env, name, command);
        test_env.longshore(&["inspect", "--check", tar.to_str().unwrap()]).expect(code).shows(words);
    }
    let padded = by_hand(&test_env, "surplus.gz", "{ pg_dump \"$db\" | gzip; echo x; } > $out");
    test_env
        .longshore(&["inspect", padded.to_str().unwrap()])
        .expect(4)
        .shows("unexpected data after the end of the gzip file");
}

#[test]
fn reports_names_and_counts_unchanged() {
    let test_env = with_shop();
    test_env.cluster.psql(SHOP, "CREATE TABLE public.\"a\u{202e}b\" AS SELECT 1 AS id");
    let dump = by_hand(&test_env, "dump", "pg_dump -Fc -t 'a*b' -f $out \"$db\"");
    let result = test_env.longshore(&["inspect", dump.to_str().unwrap()]).expect(0);
    result.shows("1 table with data, 1 row, ").shows("public.a\\u{202e}b").omits("\u{202e}");
}

#[test]
fn list_equals_that_of_pg_restore() {
    // In another time zone than the dumps, so that the printed time differs, in summer at least.
    const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    for installation in [Installation::system(), Installation::newer()] {
        let test_env = TestEnv::with_cluster(Cluster::start(&installation, &[]));
        sample::load(&test_env.cluster, 10);
        for format in ["custom", "directory", "tar"] {
            let dump = by_hand(&test_env, format, &format!("pg_dump --format={format} -f $out \"$db\""));
            let listed =
                by_hand(&test_env, "list", &format!("TZ={ZONE} pg_restore --list ${{out%/*}}/{format} > $out"));
            let mut inspect = test_env.command();
            let result = finish(inspect.env("TZ", ZONE).args(["inspect", "--list"]).arg(dump)).expect(0);
            assert_eq!(result.stdout, std::fs::read_to_string(listed).unwrap(), "{format}");
        }
    }
}

#[test]
fn encrypted_file_requires_an_identity() {
    let test_env = with_shop();
    let sealed = by_hand(&test_env, "sealed.age", "pg_dump -Fc \"$db\" | age -r $recipient > $out");
    test_env.longshore(&["inspect", sealed.to_str().unwrap()]).expect(1).shows("--identity");
}

#[test]
fn run_records_public_counts_and_encrypted_names() {
    let test_env = with_shop();
    test_env.longshore(&["run"]).expect(0);
    let folder = test_env.local().join("main").join(SHOP);
    let open = std::fs::read_to_string(manifest(&folder)).unwrap();
    assert!(open.contains("\"rows\"") && !open.contains("customer"), "{open}");

    // From the record, then from a full read.
    test_env.run_with_identity(&["inspect", SHOP]).expect(0).shows("during the dump").shows("shop.customer");
    test_env
        .run_with_identity(&["inspect", "--check", SHOP])
        .expect(0)
        .shows("all bytes match the digests of the manifest at \"local\"");
    let result = test_env.run_with_identity(&["inspect", "--json", SHOP]).expect(0).shows("\"archive\"");
    result.omits("\"definitions\"");
    test_env.longshore(&["inspect", SHOP]).expect(1).shows("--identity");
    let identity = test_env.identity();
    let of = |more: &[&str]| {
        let mut arguments = vec!["inspect", SHOP, "--json", "--identity", identity.to_str().unwrap()];
        arguments.extend(more);
        test_env.json(&arguments)
    };
    let (record, reading) = (of(&[]), of(&["--check"]));
    assert_eq!((&record["from"], &reading["from"]), (&"record".into(), &"reading".into()));
    assert_eq!(record["archive"], reading["archive"]);

    // The table of contents equals pg_dump's own, except for the time of the dump.
    let listed = test_env.run_with_identity(&["inspect", "--list", SHOP]).expect(0).stdout;
    let by_hand =
        by_hand(&test_env, "list", "pg_dump -Fc -Z0 -f $out.dump \"$db\"; pg_restore --list $out.dump > $out");
    let by_hand = std::fs::read_to_string(by_hand).unwrap();
    let timeless = |list: &str| -> Vec<String> {
        list.lines().filter(|line| !line.starts_with("; Archive created at ")).map(str::to_owned).collect()
    };
    assert_eq!(timeless(&listed), timeless(&by_hand));
}

#[test]
fn dump_with_lost_rows_is_no_backup() {
    // A pg_dump that ends one table's data early, writes the rest, and reports success.
    let test_env = with_shop();
    let programs = test_env.make_folder("programs");
    let real = test_env.cluster.bin_dir().join("pg_dump");
    let script = format!(
        "#!/bin/bash\nset -o pipefail\ncase \"$*\" in *--version*) exec {0} \"$@\";; esac\n\
         {0} \"$@\" | perl -0777 -pe 's/(\\x00.\\x00\\x00\\x00\\d+\\t[^\\n]*\\n)/\\x00\\x00\\x00\\x00\\x00/'\n",
        real.display()
    );
    std::fs::write(programs.join("pg_dump"), script).unwrap();
    for program in ["psql", "pg_dumpall", "pg_restore"] {
        std::os::unix::fs::symlink(test_env.cluster.bin_dir().join(program), programs.join(program)).unwrap();
    }
    let mut mode = std::fs::metadata(programs.join("pg_dump")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    std::fs::set_permissions(programs.join("pg_dump"), mode).unwrap();
    let more = format!("bin_dir = \"{}\"", programs.display());
    test_env.configure(&Job { cluster: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(3).shows("data of table");
    let shipped = files(&test_env.local());
    assert!(!shipped.iter().any(|name| name.contains("/shop/")), "{shipped:?}");
}

#[test]
fn terminal_shows_table_progress() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 60);
    test_env.cluster.psql("bulk", "CREATE TABLE another AS SELECT 1 AS id");
    // In a terminal of 80 columns, the table name does not fit beside the progress bar.
    let line = format!(
        "stty rows 50 cols 200; '{}' --config '{}' run",
        env!("CARGO_BIN_EXE_longshore"),
        test_env.config_path().display()
    );
    // script(1) provides a terminal and records its output.
    let mut shell = Command::new("script");
    shell.args(["--quiet", "--return", "--flush", "--command", &line]).arg(test_env.path("seen"));
    let seen = finish(shell.env("HOME", test_env.path(""))).expect(0);
    let shown = seen.stdout.lines().any(|line| line.contains("public.") && line.contains(" of 2 done"));
    assert!(shown, "{}", seen.stdout);
}
