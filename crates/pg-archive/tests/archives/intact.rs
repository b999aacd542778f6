//! Every intact dump passes, and its facts equal those of the server and of `pg_restore --list`.

mod dump;
mod server;

use std::collections::BTreeSet;
use std::io::BufReader;
use std::thread;

use longshore_pg_archive::{Compression, Facts, Format, Table, read};
use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample;

use dump::{Dump, list, pg_dumpall};
use server::{extensions, large_objects, roles, rows_by_table, sequences};

use crate::support::release;

/// Returns the facts of a dump, which must be intact.
fn facts(dump: &Dump) -> Facts {
    read(&dump.bytes[..], &mut |_| ()).unwrap_or_else(|error| panic!("{}: {error}", dump.name))
}

/// Returns the list of contents of a dump made in UTC.
fn listed(facts: &Facts) -> Vec<String> {
    let created = format!("{} UTC", facts.origin.created.as_deref().unwrap_or_default());
    facts.toc_head(&created).into_iter().chain(facts.toc.clone()).collect()
}

/// Returns the tables sorted by schema and name.
fn sorted(facts: &Facts) -> Vec<Table> {
    let mut tables = facts.tables.clone();
    tables.sort_by_key(|table| (table.schema.clone(), table.name.clone()));
    tables
}

/// Starts a server with the zoo.
fn zoo(installation: &Installation) -> Cluster {
    let cluster = Cluster::start(installation, &[]);
    sample::load_zoo(&cluster);
    cluster
}

/// Moves one table of the zoo into a tablespace.
fn add_tablespace(cluster: &Cluster) {
    let create = "SET allow_in_place_tablespaces = on; CREATE TABLESPACE \"zoo annex\" LOCATION '';
                  CREATE TABLE elsewhere (a int) TABLESPACE \"zoo annex\";";
    cluster.psql(sample::ZOO, create);
}

/// Tests several releases, two at a time.
fn on_each(installations: &[Installation], test: impl Fn(&Installation) + Sync) {
    for pair in installations.chunks(2) {
        thread::scope(|scope| pair.iter().for_each(|installation| drop(scope.spawn(|| test(installation)))));
    }
}

#[test]
fn facts_equal_server_for_all_formats() {
    on_each(&release::oldest_and_newest(), compare_facts_with_server);
}

/// Compares the facts of a dump in each format with the server.
fn compare_facts_with_server(installation: &Installation) {
    let cluster = zoo(installation);
    add_tablespace(&cluster);
    let rows = rows_by_table(&cluster, sample::ZOO);
    let (count, bytes) = large_objects(&cluster, sample::ZOO);
    let (sequences, roles) = (sequences(&cluster, sample::ZOO), roles(&cluster, sample::ZOO));
    let extensions = extensions(&cluster, sample::ZOO);
    assert!(rows.len() > 100 && count > 3 && sequences.len() > 5 && roles.len() > 5, "the zoo lacks objects");
    let mut first: Option<Vec<Table>> = None;
    for dump in Dump::in_every_format(&cluster, installation, sample::ZOO) {
        let facts = facts(&dump);
        let counted =
            facts.tables.iter().map(|table| ((table.schema.clone().unwrap(), table.name.clone()), table.rows.unwrap()));
        assert_eq!(counted.collect::<server::Rows>(), rows, "{}", dump.name);
        let set = facts
            .sequences
            .iter()
            .map(|set| ((set.schema.clone().unwrap(), set.name.clone()), (set.value, set.called)));
        assert_eq!(set.collect::<server::Sequences>(), sequences, "{}", dump.name);
        assert_eq!(facts.extensions, extensions, "{}", dump.name);
        if facts.format.is_archive() {
            let foreign = |role: &&String| *role != "postgres" && !role.starts_with("pg_");
            assert_eq!(facts.roles.iter().filter(foreign).cloned().collect::<BTreeSet<_>>(), roles, "{}", dump.name);
            assert_eq!(facts.objects.values().sum::<u64>(), facts.toc_entries, "{}", dump.name);
            assert_eq!(facts.objects["TABLE DATA"], rows.len() as u64, "{}", dump.name);
        } else {
            // Without --create, a script contains no statements about the database itself.
            let known = |role: &String| roles.contains(role) || role == "postgres" || role.starts_with("pg_");
            assert!(facts.roles.iter().all(known) && facts.roles.len() > 5, "{}: {:?}", dump.name, facts.roles);
        }
        assert_eq!(facts.tablespaces, BTreeSet::from(["zoo annex".to_owned()]), "{}", dump.name);
        assert_eq!(first.get_or_insert_with(|| sorted(&facts)), &sorted(&facts), "{}", dump.name);
        if facts.format.is_archive() {
            assert_eq!(listed(&facts), list(installation, &dump), "{}", dump.name);
            assert_eq!((facts.large_objects.count, facts.large_objects.bytes), (count, bytes), "{}", dump.name);
            assert_eq!(facts.origin.database.as_deref(), Some(sample::ZOO));
            assert_eq!(facts.compression, dump.compression, "{}", dump.name);
        }
        assert_eq!(facts.format, dump.format, "{}", dump.name);
        assert_eq!(facts.bytes, dump.bytes.len() as u64, "{}", dump.name);
        let server = facts.origin.server_version.unwrap();
        assert!(server.starts_with(&installation.version), "{}: {server}", dump.name);
        let tool = facts.origin.tool_version.unwrap();
        assert!(tool.starts_with(&installation.version), "{}: {tool}", dump.name);
    }
}

#[test]
fn accepts_dumps_with_all_pg_dump_options() {
    let installation = release::newest();
    let cluster = zoo(&installation);
    thread::scope(|scope| {
        for format in ["custom", "plain"] {
            let (cluster, installation) = (&cluster, &installation);
            scope.spawn(move || read_dumps_with_all_options(cluster, installation, format));
        }
    });
}

/// Reads a dump with each option of pg_dump, in one format.
fn read_dumps_with_all_options(cluster: &Cluster, installation: &Installation, format: &str) {
    let mut options = vec![
        "--schema-only",
        "--data-only",
        "--inserts",
        "--rows-per-insert=100",
        "--column-inserts",
        "--load-via-partition-root",
        "--create",
        "--clean",
        "--no-blobs",
        "--section=data",
        "--section=pre-data",
        "--exclude-table-data=*",
    ];
    if installation.major >= 18 {
        options.extend(["--statistics", "--statistics-only", "--no-data", "--no-schema", "--sequence-data"]);
    }
    for option in options {
        let dump = Dump::create(cluster, installation, sample::ZOO, format, &[option]);
        let facts = facts(&dump);
        if facts.format.is_archive() {
            assert_eq!(listed(&facts), list(installation, &dump), "{}", dump.name);
        }
    }
}

#[test]
fn cluster_script_counts_rows_of_all_databases() {
    count_rows_of_cluster_script(&release::newest());
}

/// Compares the facts of a cluster script with each database of the server.
fn count_rows_of_cluster_script(installation: &Installation) {
    let cluster = Cluster::start(installation, &[]);
    sample::load(&cluster, 300);
    let all = facts(&pg_dumpall(&cluster, installation, &[]));
    assert_eq!(all.format, Format::ClusterScript);
    for (database, _) in sample::databases(300) {
        let of_database = all.tables.iter().filter(|table| table.database.as_deref() == Some(database));
        let counted =
            of_database.map(|table| ((table.schema.clone().unwrap(), table.name.clone()), table.rows.unwrap()));
        assert_eq!(counted.collect::<server::Rows>(), rows_by_table(&cluster, database), "{database}");
        let set = all.sequences.iter().filter(|set| set.database.as_deref() == Some(database));
        let set = set.map(|set| ((set.schema.clone().unwrap(), set.name.clone()), (set.value, set.called)));
        assert_eq!(set.collect::<server::Sequences>(), sequences(&cluster, database), "{database}");
    }
    for option in ["--globals-only", "--roles-only", "--tablespaces-only", "--clean", "--schema-only", "--inserts"] {
        assert_eq!(facts(&pg_dumpall(&cluster, installation, &[option])).format, Format::ClusterScript, "{option}");
    }
}

#[test]
fn reads_archive_of_two_thousand_tables() {
    read_archive_of_many_tables(2_000);
}

fn read_archive_of_many_tables(count: u32) {
    let installation = Installation::system();
    let cluster = Cluster::start(&installation, &["max_locks_per_transaction=1000"]);
    sample::load_many_tables(&cluster, count);
    let dump = Dump::create(&cluster, &installation, sample::MANY_TABLES, "custom", &[]);
    let facts = facts(&dump);
    assert_eq!(listed(&facts), list(&installation, &dump));
    assert_eq!(facts.tables.len() as u64, u64::from(count));
    assert_eq!(facts.tables.iter().filter_map(|table| table.rows).sum::<u64>(), u64::from(count / 10));
}

#[test]
fn reads_largest_value_without_buffering() {
    read_largest_value("none");
}

/// Reads a table of one row, whose value has the maximum size.
fn read_largest_value(compression: &str) {
    let installation = Installation::newer();
    let cluster = Cluster::start(&installation, &[]);
    cluster.create_database("large");
    // The server compresses the value with lz4 in a fraction of the time of pglz.
    let create = "SET default_toast_compression = lz4;
                  CREATE TABLE large AS SELECT repeat('x', 1000000000) AS value, generate_series(1, 1) AS id";
    cluster.psql("large", create);
    let mut child = Dump::start(&cluster, &installation, "large", &["--format=custom", "--compress", compression]);
    let facts = read(BufReader::new(child.stdout.take().unwrap()), &mut |_| ()).unwrap();
    assert!(child.wait().unwrap().success());
    let table = &facts.tables[0];
    assert_eq!((table.rows, table.bytes), (Some(1), 1_000_000_003), "{compression}");
}

#[test]
fn reports_progress_for_every_table() {
    let installation = Installation::system();
    let cluster = Cluster::start(&installation, &[]);
    sample::load(&cluster, 10);
    let dump = Dump::create(&cluster, &installation, sample::SHOP, "custom", &[]);
    let mut reported = Vec::new();
    let facts = read(&dump.bytes[..], &mut |part| reported.push(part.clone())).unwrap();
    assert_eq!(reported.len(), facts.tables.len() + usize::from(facts.large_objects.count > 0));
    assert_eq!(facts.compression, Compression::Gzip);
    for (done, (part, table)) in reported.iter().zip(&facts.tables).enumerate() {
        assert_eq!(part.name, format!("{}.{}", table.schema.clone().unwrap(), table.name));
        assert_eq!((part.done, part.total), (done as u64, Some(reported.len() as u64)));
    }
}

/// The releases between the oldest and the newest, all options in all formats, a compressed value,
/// and five times as many tables.
mod slow {
    use longshore_testkit::cluster::Installation;

    use super::{
        compare_facts_with_server, count_rows_of_cluster_script, on_each, read_archive_of_many_tables,
        read_dumps_with_all_options, read_largest_value, release, zoo,
    };

    #[test]
    fn facts_equal_server_for_all_formats_of_releases_between() {
        on_each(&release::between(), compare_facts_with_server);
    }

    #[test]
    fn accepts_all_pg_dump_options_in_all_formats_and_releases() {
        on_each(&Installation::all(), |installation| {
            let cluster = zoo(installation);
            for format in ["custom", "plain", "tar"] {
                read_dumps_with_all_options(&cluster, installation, format);
            }
        });
    }

    #[test]
    fn cluster_script_counts_rows_on_older_releases() {
        on_each(&release::older(), count_rows_of_cluster_script);
    }

    #[test]
    fn reads_archive_of_ten_thousand_tables() {
        read_archive_of_many_tables(10_000);
    }

    #[test]
    fn reads_largest_compressed_value_without_buffering() {
        read_largest_value("zstd:1");
    }
}
