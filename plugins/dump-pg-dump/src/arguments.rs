//! The command line of pg_dump.

use longshore_core::plugin::CompressBy;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::tool::{Tool, Version};

use crate::settings::{DumpFormat, PgDump};

/// The first major version whose pg_dump supports compression methods other than gzip.
const COMPRESSION_METHODS_SINCE: u32 = 16;

/// Returns all arguments except those of the connection and the output path of the directory
/// format.
pub(crate) fn all(settings: &PgDump, by: &CompressBy, pg_dump: &Tool) -> Result<Vec<String>> {
    let format = match settings.format {
        DumpFormat::Custom => "custom",
        DumpFormat::Plain => "plain",
        DumpFormat::Tar => "tar",
        DumpFormat::Directory => "directory",
    };
    let mut arguments =
        vec![format!("--format={format}"), format!("--lock-wait-timeout={}", settings.lock_wait_timeout)];
    arguments.extend(compression_argument(by, settings.format, &pg_dump.version)?);
    if settings.jobs > 1 {
        arguments.push(format!("--jobs={}", settings.jobs));
    }
    let patterns = [
        ("schema", &settings.schemas),
        ("exclude-schema", &settings.exclude_schemas),
        ("table", &settings.tables),
        ("exclude-table", &settings.exclude_tables),
        ("exclude-table-data", &settings.exclude_table_data),
    ];
    for (option, patterns) in patterns {
        arguments.extend(patterns.iter().map(|pattern| format!("--{option}={pattern}")));
    }
    // A named table or schema that does not exist fails the dump instead of being skipped silently.
    if !settings.schemas.is_empty() || !settings.tables.is_empty() {
        arguments.push("--strict-names".to_owned());
    }
    let switches = [
        ("schema-only", settings.schema_only),
        ("data-only", settings.data_only),
        ("no-owner", settings.no_owner),
        ("no-privileges", settings.no_privileges),
    ];
    arguments.extend(switches.iter().filter(|(_, on)| *on).map(|(option, _)| format!("--{option}")));
    arguments.extend(settings.extra_args.iter().cloned());
    Ok(arguments)
}

/// Returns pg_dump's compression argument, if it takes one.
pub(crate) fn compression_argument(by: &CompressBy, format: DumpFormat, pg_dump: &Version) -> Result<Option<String>> {
    if matches!(format, DumpFormat::Plain | DumpFormat::Tar) {
        return Ok(None);
    }
    match by {
        CompressBy::Pipeline(_) => Ok(Some("--compress=0".to_owned())),
        CompressBy::Tool { method, level } if pg_dump.major >= COMPRESSION_METHODS_SINCE => {
            let level = level.map_or_else(String::new, |level| format!(":{level}"));
            Ok(Some(format!("--compress={method}{level}")))
        }
        CompressBy::Tool { method, level } if method == "gzip" => Ok(level.map(|level| format!("--compress={level}"))),
        CompressBy::Tool { method, .. } => {
            let message = format!("pg_dump {pg_dump} compresses with gzip only, not with {method}");
            Err(Error::new(Stage::Config, Kind::Usage, "compression", message)
                .hint("remove compression: Longshore then compresses with zstd, which is faster and adds a checksum"))
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::compress::{Compression, DEFAULT_LEVEL};

    use super::*;

    fn by_tool(method: &str, level: Option<i32>, version: &str) -> Result<Option<String>> {
        let by = CompressBy::Tool { method: method.into(), level };
        compression_argument(&by, DumpFormat::Custom, &Version::parse(version).unwrap())
    }

    #[test]
    fn pipeline_compression_disables_that_of_pg_dump() {
        let by = CompressBy::Pipeline(Compression::Zstd { level: DEFAULT_LEVEL, threads: 2 });
        let argument = compression_argument(&by, DumpFormat::Custom, &Version::parse("15.1").unwrap()).unwrap();
        assert_eq!(argument.as_deref(), Some("--compress=0"));
    }

    #[test]
    fn compression_argument_depends_on_the_version() {
        assert_eq!(by_tool("gzip", Some(9), "15.18").unwrap().as_deref(), Some("--compress=9"));
        assert_eq!(by_tool("zstd", Some(5), "17.1").unwrap().as_deref(), Some("--compress=zstd:5"));
        assert_eq!(by_tool("zstd", None, "15.18").unwrap_err().kind(), Kind::Usage);
    }
}
