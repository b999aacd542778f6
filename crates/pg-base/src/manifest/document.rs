//! The JSON document of a manifest.

use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::entry::{Entry, EntryFields, decode_hex};
use super::input::{Input, Position};
use super::{Manifest, NAME, WalRange};
use crate::error::{Error, Result};
use longshore_pg_wal::Lsn;

/// The most timelines that one backup can span: a promotion ends the backup of a standby, so only
/// standbys of standbys have more than one.
const MOST_RANGES: usize = 1000;

/// Reads the document to its end.
pub(super) fn read<R: Read>(inner: R, on_entry: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<Manifest> {
    let position = Position::default();
    let mut input = Input::new(inner, &position);
    let mut context = Context { position: &position, on_entry, failure: None, files: 0, file_bytes: 0 };
    let mut json = serde_json::Deserializer::from_reader(&mut input);
    let fields = Document(&mut context).deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
    let fields = fields.map_err(|error| context.error(error))?;
    let manifest = context.manifest(fields)?;
    if input.finish()? != manifest.sha256 {
        let message = "Manifest-Checksum: not the SHA-256 of the lines before it";
        return Err(Error::damaged(NAME, position.offset(), message));
    }
    Ok(manifest)
}

/// The state of a parser, and the way around serde for errors with their kinds.
struct Context<'a> {
    position: &'a Position,
    on_entry: &'a mut dyn FnMut(Entry<'_>) -> Result<()>,
    failure: Option<Error>,
    files: u64,
    file_bytes: u64,
}

/// The fields of the document but for the entries.
#[derive(Default)]
struct Fields {
    version: Option<u32>,
    system_identifier: Option<u64>,
    files: Option<()>,
    wal_ranges: Option<Vec<WalRange>>,
    checksum: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
enum Field {
    #[serde(rename = "PostgreSQL-Backup-Manifest-Version")]
    Version,
    #[serde(rename = "System-Identifier")]
    SystemIdentifier,
    Files,
    #[serde(rename = "WAL-Ranges")]
    WalRanges,
    #[serde(rename = "Manifest-Checksum")]
    Checksum,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeFields {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

impl Context<'_> {
    fn damaged(&self, message: impl Into<String>) -> Error {
        Error::damaged(NAME, self.position.offset(), message)
    }

    /// Keeps an error with its kind and returns one for serde.
    fn fail<E: serde::de::Error>(&mut self, error: Error) -> E {
        let message = error.message.clone();
        self.failure = Some(error);
        E::custom(message)
    }

    /// Returns the error behind an error of serde.
    fn error(&mut self, error: serde_json::Error) -> Error {
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        if error.is_io() {
            return Error::io(NAME, self.position.offset(), error.into());
        }
        self.damaged(error.to_string())
    }

    fn entry(&mut self, fields: EntryFields) -> Result<()> {
        self.position.mark_entry_end();
        let Self { files, file_bytes, on_entry, .. } = self;
        fields.resolve(self.position.offset(), &mut |entry| {
            let sum = file_bytes.checked_add(entry.size_bytes);
            *file_bytes = sum.ok_or_else(|| Error::damaged(NAME, entry.offset, "sizes of more than 2^64 bytes"))?;
            *files += 1;
            on_entry(entry)
        })
    }

    fn manifest(&self, fields: Fields) -> Result<Manifest> {
        let missing = |field: &str| self.damaged(format!("no field `{field}`"));
        let version = fields.version.ok_or_else(|| missing("PostgreSQL-Backup-Manifest-Version"))?;
        if version >= 2 && fields.system_identifier.is_none() {
            return Err(missing("System-Identifier"));
        }
        fields.files.ok_or_else(|| missing("Files"))?;
        let wal_ranges = fields.wal_ranges.ok_or_else(|| missing("WAL-Ranges"))?;
        self.check_ranges(&wal_ranges)?;
        let checksum = fields.checksum.ok_or_else(|| missing("Manifest-Checksum"))?;
        let sha256 = decode_hex(&checksum).and_then(|bytes| bytes.try_into().ok());
        let sha256 = sha256.ok_or_else(|| self.damaged(format!("Manifest-Checksum: `{checksum}` is no SHA-256")))?;
        let (system_identifier, files, file_bytes) = (fields.system_identifier, self.files, self.file_bytes);
        Ok(Manifest { version, system_identifier, wal_ranges, files, file_bytes, sha256 })
    }

    fn check_ranges(&self, ranges: &[WalRange]) -> Result<()> {
        if ranges.is_empty() {
            return Err(self.damaged("WAL-Ranges: no range"));
        }
        if let Some(range) = ranges.iter().find(|range| range.timeline == 0 || range.start > range.end) {
            let WalRange { timeline, start, end } = range;
            return Err(self.damaged(format!("WAL-Ranges: from {start} to {end} on timeline {timeline}")));
        }
        for pair in ranges.windows(2) {
            let [newer, older] = pair else { continue };
            if newer.start != older.end || newer.timeline <= older.timeline {
                let message = format!(
                    "WAL-Ranges: timeline {} ends at {}, timeline {} begins at {}",
                    older.timeline, older.end, newer.timeline, newer.start
                );
                return Err(self.damaged(message));
            }
        }
        Ok(())
    }
}

struct Document<'c, 'a>(&'c mut Context<'a>);

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of a backup manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let context = self.0;
        let mut fields = Fields::default();
        while let Some(field) = map.next_key::<Field>()? {
            if fields.version.is_none() != (field == Field::Version) {
                let error = context.damaged("PostgreSQL-Backup-Manifest-Version: not the first field, or not the only");
                return Err(context.fail(error));
            }
            if fields.checksum.is_some() {
                let error = context.damaged("Manifest-Checksum: not the last field");
                return Err(context.fail(error));
            }
            context.position.mark_entry_end();
            match field {
                Field::Version => fields.version = Some(context.version(map.next_value()?)?),
                Field::SystemIdentifier => once(&mut fields.system_identifier, map.next_value()?, "System-Identifier")?,
                Field::Files => once(&mut fields.files, map.next_value_seed(Files(context))?, "Files")?,
                Field::WalRanges => {
                    once(&mut fields.wal_ranges, map.next_value_seed(WalRanges(context))?, "WAL-Ranges")?
                }
                Field::Checksum => fields.checksum = Some(map.next_value()?),
            }
            context.position.mark_entry_end();
        }
        Ok(fields)
    }
}

impl Context<'_> {
    fn version<E: serde::de::Error>(&mut self, version: u64) -> Result<u32, E> {
        match version {
            1 => Ok(1),
            2 => Ok(2),
            _ => {
                let error = Error::unsupported(NAME, self.position.offset(), format!("version {version}"));
                Err(self.fail(error))
            }
        }
    }
}

/// Sets a field that must not be set yet.
fn once<T, E: serde::de::Error>(field: &mut Option<T>, value: T, name: &'static str) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

struct Files<'c, 'a>(&'c mut Context<'a>);

impl<'de> DeserializeSeed<'de> for Files<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Files<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(fields) = seq.next_element::<EntryFields>()? {
            if let Err(error) = self.0.entry(fields) {
                return Err(self.0.fail(error));
            }
        }
        Ok(())
    }
}

struct WalRanges<'c, 'a>(&'c mut Context<'a>);

impl<'de> DeserializeSeed<'de> for WalRanges<'_, '_> {
    type Value = Vec<WalRange>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<WalRange>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for WalRanges<'_, '_> {
    type Value = Vec<WalRange>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of WAL ranges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<WalRange>, A::Error> {
        let mut ranges = Vec::new();
        while let Some(RangeFields { timeline, start, end }) = seq.next_element()? {
            if ranges.len() >= MOST_RANGES {
                return Err(A::Error::custom("WAL-Ranges: more than 1000 ranges"));
            }
            ranges.push(WalRange { timeline, start, end });
            self.0.position.mark_entry_end();
        }
        Ok(ranges)
    }
}
