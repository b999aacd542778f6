//! Describes the bytes of a dump that no checksum covers.

use super::counted;
use crate::plugins::{Compression, Facts};
use indicatif::HumanBytes;

/// Describes the parts of a file that no checksum covers. Wrappings may cover all parts.
pub(super) fn coverage(wrappings: &[String], facts: &Facts) -> String {
    if let Some(wrapping) = wrappings.iter().find(|wrapping| matches!(wrapping.as_str(), "age" | "bzip2" | "gzip")) {
        return format!(
            "the {wrapping} wrapping covers every byte; only a digest of the original detects an earlier change"
        );
    }
    let within = match wrappings {
        [] => String::new(),
        _ => format!("apart from the {} wrapping, ", wrappings.join(" and ")),
    };
    if !facts.is_archive {
        let bytes = HumanBytes(facts.bytes);
        return format!(
            "{within}no checksum covers any of its {bytes}, and a script has no list of its contents: only a digest detects missing, \
             repeated or changed rows and statements"
        );
    }
    let entries = counted(facts.toc_entries, "entry", "entries");
    let contents = format!("the table of contents ({entries} with all SQL)");
    let data = data(facts);
    let uncovered = match facts.compression {
        Compression::None => format!(
            "no checksum covers any of its {}: neither {contents}, nor {data}, which is not compressed",
            HumanBytes(facts.bytes)
        ),
        Compression::Gzip => format!("no checksum covers {contents}; gzip checksums cover {data}"),
        Compression::Lz4 | Compression::Zstd => {
            format!(
                "no checksum covers {contents} or {data}: pg_dump writes {} frames without checksums",
                facts.compression
            )
        }
    };
    format!("{within}{uncovered}; only a digest detects changes there")
}

/// Describes the data of an archive with its size.
fn data(facts: &Facts) -> String {
    let tables = counted(facts.tables.len() as u64, "table", "tables");
    let bytes = HumanBytes(facts.tables.iter().map(|table| table.bytes).sum());
    match facts.large_objects {
        0 => format!("the data of {tables} ({bytes})"),
        count => {
            let count = counted(count, "large object", "large objects");
            format!("the data of {tables} ({bytes}) and of {count} ({})", HumanBytes(facts.large_object_bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::facts_of;

    const SCRIPT: &[u8] = b"--\n-- PostgreSQL database dump\n--\n\nCOPY public.t (a) FROM stdin;\n1\n\\.\n\n\n\
        --\n-- PostgreSQL database dump complete\n--\n\n";

    fn facts(compression: Compression) -> Facts {
        Facts { is_archive: true, compression, toc_entries: 3, ..facts_of(SCRIPT) }
    }

    #[test]
    fn names_uncovered_parts() {
        for (compression, words, others) in [
            (Compression::None, "no checksum covers any of its", "the data of 1 table (2 B), which is not compressed"),
            (
                Compression::Gzip,
                "no checksum covers the table of contents (3 entries",
                "gzip checksums cover the data of 1 table",
            ),
            (Compression::Zstd, "or the data of 1 table (2 B)", "pg_dump writes zstd frames without checksums"),
        ] {
            let text = coverage(&[], &facts(compression));
            assert!(text.contains(words) && text.contains(others) && text.contains("only a digest detects"), "{text}");
        }
        assert!(coverage(&[], &facts_of(SCRIPT)).contains("a script has no list of its contents"));
    }

    #[test]
    fn wrappings_with_checksums_cover_all_bytes() {
        let facts = facts(Compression::None);
        for wrapping in ["age", "bzip2", "gzip"] {
            let text = coverage(&[wrapping.to_owned()], &facts);
            assert!(text.starts_with(&format!("the {wrapping} wrapping covers every byte")), "{text}");
        }
        assert!(coverage(&["zstd".to_owned()], &facts).starts_with("apart from the zstd wrapping, no checksum"));
    }
}
