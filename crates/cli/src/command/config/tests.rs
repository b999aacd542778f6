use std::collections::BTreeSet;
use std::path::Path;

use jsonschema::Validator;
use serde_json::Value;

use super::*;

const EXAMPLE: &str = include_str!("../../../../../config.example.toml");

fn schema() -> Value {
    longshore_config::schema(&plugins::registry()).into()
}

/// Parses a text as a configuration. Returns its errors by the schema and by Longshore's reader.
fn errors(validator: &Validator, text: &str) -> (Vec<String>, Option<String>) {
    let value: Value = toml::from_str(text).unwrap();
    let by_schema = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path()));
    let by_schema = by_schema.collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let loaded = Config::load(file.path(), &plugins::registry());
    (by_schema, loaded.err().map(|error| error.chain().to_string()))
}

/// A valid configuration, of which tests replace settings.
const VALID: &str = "
[cluster.main]
connection = 'host=db'
[destination.disk]
type = 'local'
path = '/srv/backups'
[retention.standard]
keep_last = 3
[job.nightly]
cluster = 'main'
dump = [{ type = 'pg_dump' }]
encrypt = { type = 'none' }
ship = ['disk']
";

#[test]
fn schema_file_matches_the_types() {
    // As `longshore config schema` prints it.
    let schema = longshore_config::schema(&plugins::registry());
    let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, schema, "rerun the test with UPDATE_SCHEMA=1 and review the difference");
}

#[test]
fn example_is_valid_by_the_schema() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert_eq!(errors(&validator, EXAMPLE), (Vec::new(), None));
    assert_eq!(errors(&validator, VALID), (Vec::new(), None));
}

#[test]
fn schema_and_reader_refuse_the_same_mistakes() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (setting, mistake) in [
        ("[cluster.main]", "[clusters.main]"),
        ("[cluster.main]", "lock_dir = 3\n[cluster.main]"),
        ("[cluster.main]", "[cluster.'two words']"),
        ("connection = 'host=db'", "conection = 'host=db'"),
        ("connection = 'host=db'", "connection = 5432"),
        ("connection = 'host=db'", "pause_replay = 'yes'"),
        ("connection = 'host=db'", "wal = { ship = ['disk'] }"),
        ("connection = 'host=db'", "wal = { ship = ['disk'], encrypt = { type = 'none' }, required = 'some' }"),
        ("connection = 'host=db'", "wal = { ship = ['disk'], encrypt = { type = 'none' }, recovery_window = '5' }"),
        ("type = 'local'", "type = 'tape'"),
        ("type = 'local'", "type = 3"),
        ("type = 'local'\n", ""),
        ("type = 'local'", "type = 's3'"),
        ("path = '/srv/backups'\n", ""),
        ("path = '/srv/backups'", "path = '/srv/backups'\nbucket = 'acme'"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nmode = '0888'"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nmode = '1777'"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nmin_free = '64 MB/s'"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nmin_free = 64"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nstall_timeout = '10 minutes'"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nmax_rate = { '08:00-18:00' = 'slow' }"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nparallel = 65"),
        ("keep_last = 3", "keep_last = 'some'"),
        ("keep_last = 3", "keep_last = -1"),
        ("keep_last = 3", "keep_within = '1d1y'"),
        ("keep_last = 3", "keep_within = ''"),
        ("keep_last = 3", "keep_last = 3\nmin_keep = 0"),
        ("cluster = 'main'\n", ""),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'mysqldump' }]"),
        ("dump = [{ type = 'pg_dump' }]", "dump = { type = 'pg_dump' }"),
        ("dump = [{ type = 'pg_dump' }]", "dump = []"),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'pg_dump', format = 'binary' }]"),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'pg_dump', databases = 'shop' }]"),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'pg_dump', jobs = 1.5 }]"),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'pg_base', wal = 'keep' }]"),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'snapshot', with = 'tape' }]"),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'snapshot', with = { create = ['make'] } }]"),
        ("encrypt = { type = 'none' }\n", ""),
        ("encrypt = { type = 'none' }", "encrypt = { type = 'none', recipients = [] }"),
        ("encrypt = { type = 'none' }", "encrypt = { type = 'age', recipient = 'age1' }"),
        ("encrypt = { type = 'none' }", "encrypt = { type = 'age', recipients_file = 7 }"),
        ("ship = ['disk']", "ship = 'disk'"),
        ("ship = ['disk']", "ship = []"),
        ("ship = ['disk']", "ship = ['disk']\nretention = { keep_last = 3 }"),
        ("ship = ['disk']", "ship = ['disk']\nmax_age = '26'"),
        ("ship = ['disk']", "ship = ['disk']\nparallel = 0"),
        ("ship = ['disk']", "ship = ['disk']\ncompression = { level = 'best' }"),
        ("ship = ['disk']", "ship = ['disk']\ncompression = { method = 'lzma' }"),
        ("ship = ['disk']", "ship = ['disk']\nschedule = 'every day'"),
        ("ship = ['disk']", "ship = ['disk']\nschedule = { runs = '0 3 * * *' }"),
        ("ship = ['disk']", "ship = ['disk']\nincremental = { max_incrementals = 3 }"),
        ("ship = ['disk']", "ship = ['disk']\nhook = [{ when = 'during', program = ['/bin/true'] }]"),
        ("ship = ['disk']", "ship = ['disk']\nhook = [{ when = 'after', on = ['ok'], program = ['/bin/true'] }]"),
        ("ship = ['disk']", "ship = ['disk']\ndrill = { scratch = { type = 'docker' } }"),
        ("ship = ['disk']", "ship = ['disk']\ndrill = { query = [{ sql = 'select 1', answer = '1' }] }"),
        ("ship = ['disk']", "ship = ['disk']\n[notify.ops]\ntype = 'pager'"),
        ("ship = ['disk']", "ship = ['disk']\n[notify.ops]\ntype = 'ntfy'"),
        ("ship = ['disk']", "ship = ['disk']\n[notify.ops]\ntype = 'ntfy'\ntopic = 'x'\non = ['error']"),
        ("ship = ['disk']", "ship = ['disk']\n[serve]\nauth = 'basic'"),
        ("ship = ['disk']", "ship = ['disk']\n[serve]\ntokens = [{ file = '/token', role = 'root' }]"),
        ("ship = ['disk']", "ship = ['disk']\n[identity]\nfile = 3"),
        ("ship = ['disk']", "ship = ['disk']\n[adopt.old]\ndestination = 'disk'\npattern = '{database}-%F'"),
    ] {
        assert!(VALID.contains(setting), "{setting}");
        let (by_schema, by_reader) = errors(&validator, &VALID.replace(setting, mistake));
        assert!(!by_schema.is_empty(), "by schema, accepted: {mistake}");
        assert!(by_reader.is_some(), "by reader, accepted: {mistake}");
    }
}

#[test]
fn schema_and_reader_accept_all_forms_of_values() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (setting, form) in [
        ("path = '/srv/backups'", "path = '/srv/backups'\nmin_free = '0'"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nmin_free = '12 GiB'\nmode = '640'\ndir_mode = '0750'"),
        ("path = '/srv/backups'", "path = '/srv/backups'\nmax_rate = '20MiB'"),
        (
            "path = '/srv/backups'",
            "path = '/srv/backups'\nmax_rate = { '08:00-18:00' = '1 MB', '22:00-24:00' = '5kB' }",
        ),
        ("path = '/srv/backups'", "path = '/srv/backups'\nstall_timeout = '90 s'\norphan_grace = '2w'"),
        ("keep_last = 3", "keep_last = 'all'\nkeep_within = '1y6mo2w3d4h'\ntimezone = 'Europe/Berlin'"),
        ("keep_last = 3", "keep_within_monthly = '10y'\nmin_age = '1y'\nmax_total_size = '2TiB'"),
        ("encrypt = { type = 'none' }", "encrypt = { type = 'age', recipients_file = '/etc/recipients' }"),
        ("encrypt = { type = 'none' }", "encrypt = { type = 'age', recipients_file = ['/etc/one', '/etc/two'] }"),
        ("connection = 'host=db'", "wal = { ship = ['disk'], encrypt = { type = 'none' }, required = 1 }"),
        ("connection = 'host=db'", "wal = { ship = ['disk'], encrypt = { type = 'none' }, required = ['disk'] }"),
        ("connection = 'host=db'", "wal = { ship = ['disk'], encrypt = { type = 'none' }, recovery_window = 'none' }"),
        ("dump = [{ type = 'pg_dump' }]", "dump = [{ type = 'snapshot', with = 'xfs-reflink', max_rate = '1GiB' }]"),
        (
            "dump = [{ type = 'pg_dump' }]",
            "dump = [{ type = 'snapshot', with = { create = ['/a'], mount = ['/b'], unmount = ['/c'], remove = ['/d'] } }]",
        ),
        ("ship = ['disk']", "ship = ['disk']\nretention = 'standard'\nmax_age = 'none'"),
        ("ship = ['disk']", "ship = ['disk']\nretention = { disk = 'standard' }\nmax_age = '26h'"),
        ("ship = ['disk']", "ship = ['disk']\ncompression = { level = 'auto' }"),
        ("ship = ['disk']", "ship = ['disk']\ncompression = { by = 'pg_dump', method = 'lz4', level = 1 }"),
        ("ship = ['disk']", "ship = ['disk']\nschedule = '@daily'"),
        ("ship = ['disk']", "ship = ['disk']\nschedule = '*/5 8-18 * * mon-fri'\ntimezone = 'UTC'"),
        ("ship = ['disk']", "ship = ['disk']\nschedule = { run = '0 3 * * *', jitter = '10m', retry = 0 }"),
        (
            "ship = ['disk']",
            "ship = ['disk']\nhook = [{ when = 'after', on = ['done', 'done'], program = ['/bin/true'] }]",
        ),
        ("ship = ['disk']", "ship = ['disk']\ndrill = { scratch = { type = 'server', connection = 'host=drill' } }"),
        ("ship = ['disk']", "ship = ['disk']\n[identity]\ncommand = 'pass show longshore'"),
        ("ship = ['disk']", "ship = ['disk']\n[identity]\nfile = ['/one', '/two']"),
        ("ship = ['disk']", "ship = ['disk']\n[serve]\nlisten = 'unix:/run/serve.sock'\nauth = 'none'"),
        (
            "ship = ['disk']",
            "ship = ['disk']\n[notify.ops]\ntype = 'mail'\nfrom = 'a@b.c'\nto = []\ntls = 'none'\nremind = '1d'",
        ),
    ] {
        assert!(VALID.contains(setting), "{setting}");
        assert_eq!(errors(&validator, &VALID.replace(setting, form)), (Vec::new(), None), "{form}");
    }
}

/// Collects the names of all properties, and the schema of each.
fn properties<'a>(schema: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
    match schema {
        Value::Array(members) => members.iter().for_each(|member| properties(member, found)),
        Value::Object(keywords) => {
            let named = keywords.get("properties").and_then(Value::as_object);
            found.extend(named.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)));
            for (keyword, value) in keywords.iter().filter(|(keyword, _)| *keyword != "default") {
                match value.as_object().filter(|_| ["properties", "$defs"].contains(&keyword.as_str())) {
                    Some(named) => named.values().for_each(|schema| properties(schema, found)),
                    None => properties(value, found),
                }
            }
        }
        _ => {}
    }
}

/// Returns the names of the settings of the example, those in comments included.
fn settings_of_example() -> BTreeSet<&'static str> {
    let is_name = |char: char| char.is_ascii_lowercase() || char == '_' || char.is_ascii_digit();
    let name_before = |text: &'static str| {
        let text = text.trim_end();
        &text[text.rfind(|char| !is_name(char)).map_or(0, |before| before + 1)..]
    };
    let mut names: BTreeSet<_> = EXAMPLE.match_indices('=').map(|(place, _)| name_before(&EXAMPLE[..place])).collect();
    let headers = EXAMPLE.lines().map(|line| line.trim_start_matches("# ")).filter(|line| line.starts_with('['));
    names.extend(headers.flat_map(|line| line.split(['[', ']', '.'])));
    names
}

#[test]
fn example_shows_every_property_of_the_schema() {
    let schema = schema();
    let mut found = Vec::new();
    properties(&schema, &mut found);
    let shown = settings_of_example();
    let missing: BTreeSet<_> = found.iter().map(|(name, _)| *name).filter(|name| !shown.contains(name)).collect();
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn every_property_has_a_description() {
    let schema = schema();
    let mut found = Vec::new();
    properties(&schema, &mut found);
    assert!(found.len() > 200, "{}", found.len());
    for (name, schema) in found {
        let is_described = schema.get("description").is_some() || schema.get("$ref").is_some() || name == "type";
        assert!(is_described, "{name}: {schema}");
    }
    let text = schema.to_string();
    assert!(!text.contains("[`") && !text.contains("Written"), "links and names of Rust");
}

#[test]
fn check_builds_the_stages() {
    for (setting, mistake) in
        [("{ type = 'pg_dump' }", "{ type = 'pg_dump', extra_args = ['--file=x'] }"), ("host=db", "host")]
    {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), VALID.replace(setting, mistake)).unwrap();
        let config = Config::load(Path::new(file.path()), &plugins::registry()).unwrap();
        assert!(build(&config.jobs["nightly"]).is_err(), "{mistake}");
    }
}
