//! `longshore inspect`: show the contents of a dump or base backup, and verify it.
//!
//! | file | holds |
//! | --- | --- |
//! | `base.rs` | the facts of a base backup |
//! | `coverage.rs` | the bytes of a dump that no checksum covers, in words |

mod base;
mod coverage;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::HumanBytes;
use longshore_core::error::printable;
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::inspect::{Extent, Inspected, Inspector, Source};

use self::coverage::coverage;
use crate::args::Inspect;
use crate::command::short_name::full_name;
use crate::command::{Context, given_identities, identities};
use crate::exit_code::Exit;
use crate::output::{Cell, Column, Output, Priority, Table};
use crate::plugins::{self, Facts};
use crate::progress;

pub(super) async fn inspect(context: impl FnOnce() -> Result<Context>, args: &Inspect, output: Output) -> Result<Exit> {
    let registry = plugins::registry();
    let counter = progress::counter(output);
    let observer = counter.clone();
    let path = Path::new(&args.what);
    let is_file = args.destination.is_none() && args.job.is_none() && (args.what == "-" || path.exists());
    let inspected = async {
        if is_file {
            let identities = given_identities(&args.identity);
            let inspector = Inspector { registry: &registry, identities: &identities, observer };
            return inspector.file(&args.what, bytes(path)?).await;
        }
        let context = context().map_err(|error| missing_file_error(error, args))?;
        let extent = if args.check { Extent::Full } else { Extent::Record };
        let identities = identities(&args.identity, &context.config).await?;
        let inspector = Inspector { registry: &registry, identities: &identities, observer };
        let destination = args.destination.as_deref();
        let name = full_name(&context.config, &args.what, destination).await?;
        let found = inspector.backup(&context.config, &name, (args.job.as_deref(), destination), extent).await;
        let (inspected, warnings) = found.map_err(|error| with_file_hint(error, &args.what))?;
        warnings.iter().for_each(|warning| output.warning(warning));
        Ok(inspected)
    };
    let inspected = inspected.await;
    counter.finish();
    let inspected = inspected?;
    if args.json.json {
        return Ok(output.json(&inspected));
    }
    let archive = plugins::archive(&inspected.details);
    if args.check {
        print_verification(&inspected, archive.as_ref(), output);
        return Ok(Exit::Done);
    }
    if let Some(facts) = &inspected.base_facts {
        if args.list {
            let message = "a base backup has no table of contents";
            let error = Error::new(Stage::Verify, Kind::Usage, inspected.name, message);
            return Err(error.hint("list its files with `longshore restore NAME --list`"));
        }
        base::print(&inspected, facts, output);
        return Ok(Exit::Done);
    }
    match archive {
        Some(facts) if args.list && !facts.is_archive => {
            let error = Error::new(Stage::Verify, Kind::Usage, inspected.name, "a script has no table of contents");
            return Err(error.hint("omit --list to show its tables"));
        }
        Some(_) if args.list => list(&inspected, output),
        Some(facts) => print_facts(&inspected, &facts, output),
        None => output.note("the backup has no record of its contents"),
    }
    Ok(Exit::Done)
}

/// Returns the bytes of a file, of a directory dump, or of stdin.
fn bytes(path: &Path) -> Result<ByteStream> {
    let name = path.display().to_string();
    if path == Path::new("-") {
        return Ok(read(|| Ok(io::stdin()), name));
    }
    if !path.is_dir() {
        let path = path.to_owned();
        return Ok(read(|| File::open(path), name));
    }
    if path.join("toc.dat").is_file() {
        return Ok(plugins::directory_dump(path));
    }
    Err(Error::new(Stage::Verify, Kind::Usage, name, "not a directory dump: the directory has no toc.dat")
        .hint("pass a file, or a directory written by `pg_dump --format=directory`"))
}

/// Reads a reader to its end. Opens it on the reading thread, since opening a FIFO blocks until
/// another process opens it for writing.
fn read<R: io::Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static, name: String) -> ByteStream {
    let read_error = move |error| Error::io(Stage::Verify, &name, "cannot read the file", error);
    stream::transform(stream::from_bytes(""), read_error, move |_, writer| writer.copy_from(&mut open()?))
}

/// Extends the error about an unknown backup, which may be the name of a missing file.
fn with_file_hint(error: Error, what: &str) -> Error {
    if error.kind() == Kind::NotFound {
        let what = printable(what);
        let known = error.remedy().unwrap_or("list backups with `longshore list`");
        let hint = format!("{known}; no file \"{what}\" exists, either");
        return error.hint(hint);
    }
    error
}

/// Replaces the error about a missing configuration if the name can only be that of a file.
fn missing_file_error(error: Error, args: &Inspect) -> Error {
    if error.kind() != Kind::NotFound || args.destination.is_some() || args.job.is_some() {
        return error;
    }
    Error::new(
        Stage::Verify,
        Kind::NotFound,
        &args.what,
        "no such file, and no configuration to find a backup of this name",
    )
    .because(error)
    .hint("pass an existing file or directory; for a backup, pass --config FILE")
}

/// Prints the table of contents in the format of `pg_restore --list`, for `pg_restore --use-list`.
fn list(inspected: &Inspected, output: Output) {
    let is_terminal = io::stdout().is_terminal();
    for line in plugins::listing(&inspected.details) {
        if is_terminal { output.line(printable(&line)) } else { output.line(line) }
    }
}

fn print_verification(inspected: &Inspected, facts: Option<&Facts>, output: Output) {
    let verified = inspected.verified.iter().map(|verified| format!("{} by {}", verified.method, verified.by));
    let verified = verified.collect::<Vec<_>>().join(", ");
    output.line(format_args!("{}: verified: {verified}", printable(&inspected.name)));
    if let Some(others) = facts.and_then(others) {
        output.note(format_args!("ignored, as by pg_restore: {}", printable(&others)));
    }
    if let Some(damaged) = inspected.base_facts.as_ref().and_then(base::damaged_pages) {
        output.warning(damaged);
    }
    match (&inspected.destination, facts, &inspected.base_facts) {
        (Some(destination), ..) => output.note(format_args!(
            "all bytes match the digests of the manifest at \"{destination}\"; a copy outside of a destination has no digests"
        )),
        (None, Some(facts), _) => output.note(coverage(&inspected.wrappings, facts)),
        (None, None, Some(_)) => output.note(base::coverage(&inspected.wrappings)),
        (None, None, None) => {}
    }
}

/// Prints the name of a fact and its value, unless the value is empty.
fn line(output: Output, name: &str, value: &str) {
    if !value.is_empty() {
        output.line(format_args!("{name:<12} {}", printable(value)));
    }
}

/// Prints the name of the file or the backup.
fn name_line(inspected: &Inspected, output: Output) {
    match &inspected.destination {
        Some(destination) => line(output, "backup", &format!("{} at \"{destination}\"", inspected.name)),
        None => line(output, "file", &inspected.name),
    }
}

/// Prints the time of the verification.
fn verified_line(inspected: &Inspected, output: Output) {
    let verified = match inspected.from {
        Source::Reading => "now, completely: no damage",
        Source::Record => "during the dump; --check reads the backup again",
    };
    line(output, "verified", verified);
}

fn print_facts(inspected: &Inspected, facts: &Facts, output: Output) {
    let line = |name: &str, value: &str| line(output, name, value);
    let origin = &facts.origin;
    let text_or_empty = |value: &Option<String>| value.clone().unwrap_or_default();
    name_line(inspected, output);
    line("format", &format_text(inspected, facts));
    line("database", &text_or_empty(&origin.database));
    line("dumped from", &origin.server_version.as_ref().map_or_else(String::new, |of| format!("PostgreSQL {of}")));
    line("dumped by", &text_or_empty(&origin.tool_version));
    line("created", &origin.created.as_ref().map_or_else(String::new, |at| format!("{at} (clock of the source host)")));
    line("size", &HumanBytes(facts.bytes).to_string());
    line("contents", &contents(facts));
    line("ignored", &others(facts).unwrap_or_default());
    verified_line(inspected, output);
    if !facts.tables.is_empty() {
        output.line("");
        let columns = [
            Column::text("TABLE").min(24),
            Column::number("ROWS"),
            Column::number("SIZE").priority(Priority::High),
            Column::fixed("XXH3 OF ROWS").priority(Priority::Medium),
        ];
        output.table(&Table::new(columns).rows(facts.tables.iter().map(row)));
    }
}

/// Returns the format, from the outside in: `age, zstd, custom format 1.16-0, gzip inside`.
fn format_text(inspected: &Inspected, facts: &Facts) -> String {
    let mut parts = inspected.wrappings.clone();
    let version = facts.origin.version.iter().map(|version| format!(" {version}"));
    parts.push(std::iter::once(facts.format.clone()).chain(version).collect());
    if facts.is_archive {
        parts.push(format!("compression inside: {}", facts.compression));
    }
    parts.join(", ")
}

fn contents(facts: &Facts) -> String {
    let tables = counted(facts.tables.len() as u64, "table", "tables");
    let rows = counted(facts.tables.iter().filter_map(|table| table.rows).sum(), "row", "rows");
    let mut parts = vec![format!("{tables} with data, {rows}")];
    if facts.large_objects > 0 {
        // A script contains large objects as calls, so their size is unknown.
        let size = facts.is_archive.then(|| format!(" of {}", HumanBytes(facts.large_object_bytes)));
        let count = counted(facts.large_objects, "large object", "large objects");
        parts.push(format!("{count}{}", size.unwrap_or_default()));
    }
    if facts.is_archive {
        parts.push(counted(facts.toc_entries, "TOC entry", "TOC entries"));
    }
    parts.join(", ")
}

/// Returns the other files beside the dump, if any: `README, notes/ and 3 more`.
fn others(facts: &Facts) -> Option<String> {
    let names = facts.extra_file_names.join(", ");
    match facts.extra_files.saturating_sub(facts.extra_file_names.len() as u64) {
        _ if facts.extra_files == 0 => None,
        0 => Some(names),
        more => Some(format!("{names} and {more} more")),
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn row(table: &plugins::Table) -> Vec<Cell> {
    let database = table.database.iter().map(|database| format!("{database}: "));
    let schema = table.schema.iter().map(|schema| format!("{schema}."));
    let name: String = database.chain(schema).chain([table.name.clone()]).collect();
    let rows = table.rows.map_or_else(|| "INSERTs".to_owned(), |rows| rows.to_string());
    let digest = table.rows_xxh3.clone().unwrap_or_default();
    vec![name.into(), rows.into(), HumanBytes(table.bytes).to_string().into(), digest.into()]
}
