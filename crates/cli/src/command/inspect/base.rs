//! Prints the facts of a base backup.

use indicatif::HumanBytes;
use longshore_core::base::{BaseFacts, BaseTablespace, WalLocation};
use longshore_engine::inspect::Inspected;

use super::{counted, line, name_line, verified_line};
use crate::output::{Cell, Column, Output, Priority, Table};
use crate::plugins::{self, BaseRecord};

/// The number of damaged pages to name.
const MAX_NAMED: usize = 10;

/// Prints the facts of a base backup: of the open manifest, or of the backup itself, and of its
/// record.
pub(super) fn print(inspected: &Inspected, facts: &BaseFacts, output: Output) {
    let record = plugins::base_record(&inspected.details);
    name_line(inspected, output);
    for (name, value) in lines(inspected, facts, &record) {
        line(output, name, &value);
    }
    verified_line(inspected, output);
    if facts.tablespaces.is_empty() {
        return;
    }
    output.line("");
    let columns = [
        Column::text("TABLESPACE").min(24),
        Column::number("OID"),
        Column::number("SIZE").priority(Priority::High),
        Column::text("DIRECTORY AT THE SOURCE").priority(Priority::Medium),
    ];
    output.table(&Table::new(columns).rows(rows(facts, &record)));
    output.note("a restore needs a new or empty directory for each tablespace: --tablespace TABLESPACE=DIR");
}

/// Describes the coverage of the checksums in a base backup. Wrappings may cover all bytes.
pub(super) fn coverage(wrappings: &[String]) -> String {
    match wrappings.iter().find(|wrapping| matches!(wrapping.as_str(), "age" | "gzip")) {
        Some(wrapping) => {
            format!(
                "the {wrapping} wrapping covers every byte; only a digest of the original detects an earlier change"
            )
        }
        None => "the server's manifest has a checksum of every file except WAL, of which only headers are checked; \
                 only a digest detects a change of a file and of the manifest"
            .to_owned(),
    }
}

/// Returns the number of pages that are damaged in the source cluster, in words.
pub(super) fn damaged_pages(facts: &BaseFacts) -> Option<String> {
    let pages = counted(facts.damaged_pages, "page", "pages");
    (facts.damaged_pages > 0).then(|| format!("{pages} of the source cluster had wrong checksums"))
}

/// Returns the names and values of the facts. Empty values are unknown.
fn lines(inspected: &Inspected, facts: &BaseFacts, record: &BaseRecord) -> Vec<(&'static str, String)> {
    let wrappings = inspected.wrappings.iter().map(String::as_str);
    let files = counted(facts.files, "file", "files");
    let incremental = facts.incremental_from.map(|lsn| format!("changes since the backup that started at {lsn}"));
    let consistency = match facts.crash_consistent {
        true => "of a crash: a snapshot that the server took no part in; archived WAL cannot be added",
        false => "",
    };
    let settings: Vec<String> = facts.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
    vec![
        ("format", wrappings.chain(["base backup"]).collect::<Vec<_>>().join(", ")),
        ("cluster", cluster(inspected, record)),
        ("dumped from", server(inspected, facts, record)),
        ("label", record.label.clone().unwrap_or_default()),
        ("timeline", facts.timeline.to_string()),
        ("start LSN", format!("{}, where recovery starts", facts.start_lsn)),
        ("stop LSN", format!("{}, where the cluster is consistent", facts.stop_lsn)),
        ("incremental", incremental.unwrap_or_default()),
        ("consistency", consistency.to_owned()),
        ("WAL", wal(facts)),
        ("contents", format!("{files}, {}", HumanBytes(facts.file_bytes))),
        ("settings", settings.join(", ")),
        ("pages", pages(facts)),
        ("damaged", named_pages(facts, record)),
    ]
}

/// Returns the name and the system identifier of the cluster.
fn cluster(inspected: &Inspected, record: &BaseRecord) -> String {
    let cluster = inspected.cluster.as_ref();
    let identifier = cluster.and_then(|cluster| cluster.server.system_identifier.clone());
    let identifier = identifier.or_else(|| record.system_identifier.clone());
    let identifier = identifier.map(|identifier| format!("system identifier {identifier}"));
    cluster.map(|cluster| cluster.name.clone()).into_iter().chain(identifier).collect::<Vec<_>>().join(", ")
}

/// Returns the version and the role of the server.
fn server(inspected: &Inspected, facts: &BaseFacts, record: &BaseRecord) -> String {
    let version = inspected.cluster.as_ref().map(|cluster| cluster.server.server_version.clone());
    let version = version.or_else(|| record.version.clone()).map(|version| format!(" {version}"));
    let role = if facts.from_standby { "a standby" } else { "a primary" };
    format!("PostgreSQL{}, {role}", version.unwrap_or_default())
}

fn wal(facts: &BaseFacts) -> String {
    let location = match facts.wal {
        WalLocation::Included => "included",
        WalLocation::Archive => "not included: in the archive of the cluster",
    };
    format!("{location}, segments of {}", HumanBytes(facts.wal_segment_bytes))
}

fn pages(facts: &BaseFacts) -> String {
    match (facts.page_checksums, damaged_pages(facts)) {
        (false, _) => "the cluster has no page checksums: damage of its pages is not detected".to_owned(),
        (true, None) => "all page checksums are right".to_owned(),
        (true, Some(damaged)) => damaged,
    }
}

/// Returns the first damaged pages.
fn named_pages(facts: &BaseFacts, record: &BaseRecord) -> String {
    let named = &record.damaged_pages[..record.damaged_pages.len().min(MAX_NAMED)];
    let names: Vec<String> = named.iter().map(|page| format!("{} block {}", page.path, page.block)).collect();
    match facts.damaged_pages.saturating_sub(named.len() as u64) {
        _ if named.is_empty() => String::new(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Returns a row for each tablespace.
fn rows(facts: &BaseFacts, record: &BaseRecord) -> Vec<Vec<Cell>> {
    let row = |tablespace: &BaseTablespace| {
        let recorded = record.tablespaces.iter().find(|recorded| recorded.oid == tablespace.oid);
        let name = recorded.and_then(|recorded| recorded.name.as_deref()).unwrap_or("?");
        let path = recorded.and_then(|recorded| recorded.path.as_deref()).unwrap_or("?");
        vec![
            name.into(),
            tablespace.oid.to_string().into(),
            HumanBytes(tablespace.bytes).to_string().into(),
            path.into(),
        ]
    };
    facts.tablespaces.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use longshore_core::manifest::{Cluster, Format, Server};
    use longshore_engine::inspect::Source;
    use serde_json::json;

    use super::*;

    fn facts() -> BaseFacts {
        BaseFacts {
            timeline: 3,
            start_lsn: "16/B374D848".parse().unwrap(),
            stop_lsn: "16/B4000100".parse().unwrap(),
            wal: WalLocation::Included,
            finished: None,
            wal_segment_bytes: 16 << 20,
            crash_consistent: false,
            from_standby: true,
            page_checksums: true,
            damaged_pages: 12,
            incremental_from: None,
            settings: [("max_connections".to_owned(), 100)].into(),
            files: 1,
            file_bytes: 8192,
            tablespaces: vec![BaseTablespace { oid: 16398, bytes: 1024 }, BaseTablespace { oid: 16399, bytes: 0 }],
        }
    }

    fn inspected() -> Inspected {
        let details = json!({
            "base": {
                "label": "longshore 2026-11-29T03:00:00Z",
                "system_identifier": 7_301_234_567_890_123_456_u64,
                "damaged_pages": [{ "path": "base/5/16384", "block": 7 }],
            },
            "tablespaces": [
                { "oid": 16398, "path": "/srv/annex", "name": "annex" },
                { "oid": 16399, "path": "/srv/b" },
            ],
        });
        let server = Server { server_version: "17.4".to_owned(), system_identifier: Some("7".to_owned()) };
        Inspected {
            name: "main/base/base-2026-11-29_030000".to_owned(),
            destination: Some("disk".to_owned()),
            wrappings: vec!["age".to_owned(), "zstd".to_owned()],
            format: Format::Base,
            from: Source::Record,
            cluster: Some(Cluster { name: "main".to_owned(), server }),
            base_facts: Some(facts()),
            verified: Vec::new(),
            details: details.as_object().unwrap().clone(),
        }
    }

    fn text(inspected: &Inspected, facts: &BaseFacts) -> String {
        let lines = lines(inspected, facts, &plugins::base_record(&inspected.details));
        lines.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
    }

    #[test]
    fn lines_show_manifest_and_record() {
        let text = text(&inspected(), &facts());
        for line in [
            "format: age, zstd, base backup\n",
            "cluster: main, system identifier 7\n",
            "dumped from: PostgreSQL 17.4, a standby\n",
            "label: longshore 2026-11-29T03:00:00Z\n",
            "timeline: 3\nstart LSN: 16/B374D848,",
            "stop LSN: 16/B4000100,",
            "WAL: included, segments of 16.00 MiB\n",
            "contents: 1 file, 8.00 KiB\n",
            "settings: max_connections 100\n",
            "pages: 12 pages of the source cluster had wrong checksums\n",
            "damaged: base/5/16384 block 7 and 11 more\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn file_shows_the_identifier_that_its_verifier_found() {
        let file = Inspected { cluster: None, destination: None, ..inspected() };
        let sound = BaseFacts { damaged_pages: 0, from_standby: false, ..facts() };
        let shown = text(&file, &sound);
        assert!(shown.contains("cluster: system identifier 7301234567890123456\n"), "{shown}");
        assert!(shown.contains("dumped from: PostgreSQL, a primary\n"), "{shown}");
        assert!(shown.contains("pages: all page checksums are right\n"), "{shown}");
        let unchecked = text(&file, &BaseFacts { page_checksums: false, ..sound });
        assert!(unchecked.contains("pages: the cluster has no page checksums"), "{unchecked}");
    }

    #[test]
    fn tablespaces_have_names_and_directories() {
        let rows = rows(&facts(), &plugins::base_record(&inspected().details));
        assert_eq!(rows[0], ["annex", "16398", "1.00 KiB", "/srv/annex"].map(Cell::from));
        assert_eq!(rows[1], ["?", "16399", "0 B", "/srv/b"].map(Cell::from));
    }

    #[test]
    fn coverage_names_bytes_without_a_checksum() {
        assert!(coverage(&["age".to_owned(), "zstd".to_owned()]).starts_with("the age wrapping covers every byte"));
        assert!(coverage(&["zstd".to_owned()]).contains("except WAL"));
    }
}
