//! The table of contents: an entry for every object that a restore creates or fills.

mod entry;
mod entry_reader;
mod references;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead;

use roaring::RoaringBitmap;

pub(crate) use self::entry::{DataLocation, Entry};
use self::entry_reader::EntryReader;
pub(crate) use self::references::{References, names_roles};
use crate::definitions::{Definitions, hex};
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::facts::Origin;
use crate::header::{Header, WITH_LARGE_OBJECT_ENTRIES};
use crate::input::Input;

/// The whole table of contents.
pub(crate) struct Toc {
    pub(crate) entries: Vec<Entry>,
    pub(crate) by_id: HashMap<i32, usize>,
    /// The encoding of all text.
    pub(crate) encoding: Encoding,
    /// The large objects, if the TOC lists them individually.
    pub(crate) large_objects: Option<RoaringBitmap>,
    /// Other names in the entries.
    pub(crate) references: References,
}

impl Toc {
    /// Reads the TOC, which follows the header.
    pub(crate) fn read<R: BufRead>(input: &mut Input<R>, header: &Header) -> Result<Self> {
        const PLACE: &str = "TOC";
        let at = input.offset();
        let count = input.int(header.widths, PLACE, "the number of its entries")?;
        if count < 0 {
            return Err(Error::damaged(at, PLACE, format!("has {count} entries")));
        }
        let mut reader = EntryReader::new(input, header);
        let mut toc = Self {
            entries: Vec::new(),
            by_id: HashMap::new(),
            encoding: Encoding::Other,
            large_objects: None,
            references: References::default(),
        };
        for number in 1..=count {
            let at = reader.input.offset();
            reader.place = format!("TOC entry {number} of {count}");
            let entry = reader.entry()?;
            if toc.by_id.insert(entry.id, toc.entries.len()).is_some() {
                return Err(Error::damaged(
                    at,
                    reader.place,
                    format!("has the id {}, which another entry has", entry.id),
                ));
            }
            toc.entries.push(entry);
        }
        toc.encoding = reader.encoding;
        toc.references = std::mem::take(&mut reader.references);
        if let (Encoding::Utf8, Some((at, place))) = (reader.encoding, reader.invalid) {
            return Err(Error::damaged(at, place, "there are bytes that are not UTF-8"));
        }
        if header.version >= WITH_LARGE_OBJECT_ENTRIES {
            // A data-only dump lists no large objects but contains them.
            toc.large_objects = Some(reader.listed).filter(|listed| !listed.is_empty());
        }
        toc.check(at, &header.origin)?;
        Ok(toc)
    }

    /// Checks the entries as a whole.
    fn check(&self, at: u64, origin: &Origin) -> Result<()> {
        let known: HashSet<_> = self
            .entries
            .iter()
            .filter(|entry| entry.description.ends_with("TABLE"))
            .map(|entry| (entry.schema(), entry.name.as_str()))
            .collect();
        let records_partition_root = records_partition_root(origin.tool_version.as_deref().unwrap_or_default());
        for entry in &self.entries {
            let place = || format!("TOC entry with the id {}", entry.id);
            if entry.description == "BLOB COMMENTS" {
                let message = "comments on large objects as data, as before PostgreSQL 9.0, are not supported";
                return Err(Error::unsupported(entry.offset, place(), message));
            }
            let Some(copy) = &entry.copy else { continue };
            let into = (copy.schema.as_deref(), copy.table.as_str());
            let own = copy.table == entry.name && (copy.schema.is_none() || copy.schema == entry.schema);
            // The rows of a partition may be loaded through the partitioned table. A data-only
            // archive lists no tables.
            let root = entry.loads_via_root || !records_partition_root && (known.is_empty() || known.contains(&into));
            if !own && !root {
                let message =
                    format!("its COPY statement fills \"{}\", where \"{}\" was expected", copy.table, entry.name);
                return Err(Error::damaged(entry.offset, place(), message));
            }
        }
        let offsets = self.entries.iter().filter_map(|entry| match entry.data {
            DataLocation::Block(offset) => Some(offset.is_some()),
            _ => None,
        });
        let (with, without): (Vec<_>, Vec<_>) = offsets.partition(|known| *known);
        if !with.is_empty() && !without.is_empty() {
            let message = format!("{} entries have the offset of their data, and {} do not", with.len(), without.len());
            return Err(Error::damaged(at, "TOC", message));
        }
        Ok(())
    }

    /// Returns the entries whose data must follow, in its order.
    pub(crate) fn with_data(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.data != DataLocation::None)
    }

    /// Returns the number of entries of each kind.
    pub(crate) fn objects(&self) -> BTreeMap<String, u64> {
        let mut objects = BTreeMap::new();
        for entry in &self.entries {
            match objects.get_mut(&entry.description) {
                Some(count) => *count += 1,
                None => drop(objects.insert(entry.description.clone(), 1)),
            }
        }
        objects
    }

    /// Returns the TOC as `pg_restore --list` prints it.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.entries.iter().filter_map(Entry::line).collect()
    }

    /// Returns the digests of all definitions.
    pub(crate) fn definitions(&self) -> Definitions {
        let (listed, others): (Vec<_>, Vec<_>) = self.entries.iter().partition(|entry| entry.is_listed());
        Definitions {
            listed: listed.into_iter().map(|entry| hex(entry.digest)).collect(),
            others: others.into_iter().map(Entry::unlisted_definition).collect(),
        }
    }
}

/// Returns true if this version of pg_dump records rows that are loaded into another table: since
/// the minor releases of May 2023.
fn records_partition_root(version: &str) -> bool {
    let mut numbers =
        version.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match major {
        0..=10 => false,
        11 => minor >= 20,
        12 => minor >= 15,
        13 => minor >= 11,
        14 => minor >= 8,
        15 => minor >= 3,
        _ => true,
    }
}
