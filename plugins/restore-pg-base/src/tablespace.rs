//! The tablespaces of a backup, and the folders that receive them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use longshore_core::error::printable;
use longshore_core::stage::RestoreRequest;
use longshore_core::{Error, Kind, Stage};
use serde::Deserialize;

use crate::member::parse_oid;

/// A tablespace of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tablespace {
    /// The OID, which names its folder in `pg_tblspc`.
    pub(crate) oid: u32,
    /// The size of its files in bytes, if the manifest records it.
    pub(crate) bytes: Option<u64>,
    /// The name, if the details record it.
    name: Option<String>,
    /// The folder on the source host, if the details record it.
    source: Option<String>,
}

/// The folder of a tablespace in the restored cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TablespaceFolder {
    /// A folder outside of the data directory.
    Outside(PathBuf),
    /// The folder in `pg_tblspc` itself, as with `allow_in_place_tablespaces`.
    InPlace,
}

/// An element of the detail `tablespaces`.
#[derive(Debug, Deserialize)]
struct Recorded {
    oid: u32,
    path: Option<String>,
    name: Option<String>,
}

impl Tablespace {
    /// Returns the tablespaces of a backup, or `None` if neither the manifest nor the details
    /// record them.
    pub(crate) fn of_backup(request: &RestoreRequest<'_>) -> Option<Vec<Self>> {
        let facts = request.manifest.base.as_ref();
        let details = request.details.and_then(|details| details.get("tablespaces")?.as_array());
        if facts.is_none() && details.is_none() {
            return None;
        }
        let new = |oid| Self { oid, bytes: None, name: None, source: None };
        let mut all: BTreeMap<u32, Self> = BTreeMap::new();
        for fact in facts.into_iter().flat_map(|facts| &facts.tablespaces) {
            all.entry(fact.oid).or_insert_with(|| new(fact.oid)).bytes = Some(fact.bytes);
        }
        for element in details.into_iter().flatten() {
            // The data directory itself has no OID.
            let Ok(Recorded { oid, path, name }) = serde_json::from_value(element.clone()) else { continue };
            let tablespace = all.entry(oid).or_insert_with(|| new(oid));
            (tablespace.name, tablespace.source) = (name, path);
        }
        Some(all.into_values().collect())
    }

    /// Returns true if the tablespace is in the data directory of the source.
    fn is_in_place(&self) -> bool {
        self.source.as_ref().is_some_and(|path| !path.starts_with('/'))
    }

    /// Returns true if a key of the operator names the tablespace.
    fn is_named_by(&self, key: &str) -> bool {
        let is_source = self.source.as_ref().is_some_and(|source| Path::new(source) == Path::new(key));
        parse_oid(key) == Some(self.oid) || self.name.as_deref() == Some(key) || is_source
    }

    /// Returns the shortest key that names the tablespace.
    fn key(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.oid.to_string())
    }
}

impl fmt::Display for Tablespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "tablespace \"{}\" ({})", printable(name), self.oid),
            None => write!(f, "tablespace {}", self.oid),
        }
    }
}

/// Returns the folder of each tablespace, by OID, and an error for each tablespace without a folder
/// and each key without a tablespace. If the tablespaces are unknown, keys must be OIDs.
pub(crate) fn assign(
    tablespaces: Option<&[Tablespace]>,
    chosen: &BTreeMap<String, PathBuf>,
) -> (BTreeMap<u32, TablespaceFolder>, Vec<Error>) {
    let refused = |subject: String, message: String| Error::new(Stage::Restore, Kind::Refused, subject, message);
    let (mut folders, mut errors) = (BTreeMap::new(), Vec::new());
    let mut doubtful = BTreeSet::new();
    for (key, path) in chosen {
        let subject = format!("--tablespace {}", printable(key));
        let named: Vec<u32> = match tablespaces {
            Some(all) => {
                let outside = all.iter().filter(|tablespace| !tablespace.is_in_place());
                outside.filter(|tablespace| tablespace.is_named_by(key)).map(|tablespace| tablespace.oid).collect()
            }
            None => parse_oid(key).into_iter().collect(),
        };
        match named[..] {
            [oid] => {
                if folders.insert(oid, TablespaceFolder::Outside(path.clone())).is_some() {
                    let message = format!("tablespace {oid} has two folders");
                    errors.push(refused(subject, message).hint("name each tablespace once"));
                }
            }
            [] => errors.push(refused(subject, "no such tablespace in the backup".to_owned()).hint(known(tablespaces))),
            [..] => {
                doubtful.extend(named);
                let message = "the name of one tablespace and the OID or folder of another".to_owned();
                errors.push(refused(subject, message).hint("name the tablespaces by another key"));
            }
        }
    }
    for tablespace in tablespaces.unwrap_or_default() {
        if tablespace.is_in_place() {
            folders.insert(tablespace.oid, TablespaceFolder::InPlace);
        } else if !folders.contains_key(&tablespace.oid) && !doubtful.contains(&tablespace.oid) {
            let source = tablespace.source.as_ref().map(|path| format!(" at \"{}\" of the source", printable(path)));
            let message = format!("no folder for the tablespace{}", source.unwrap_or_default());
            let hint = format!("name a new or empty folder: --tablespace {}=/new/folder", printable(&tablespace.key()));
            errors.push(refused(tablespace.to_string(), message).hint(hint));
        }
    }
    (folders, errors)
}

/// Returns the hint with the keys that are known.
fn known(tablespaces: Option<&[Tablespace]>) -> String {
    match tablespaces {
        None => "name tablespaces by OID: the record with their names is missing, or cannot be decrypted".to_owned(),
        Some([]) => "omit the option: the backup has no tablespaces".to_owned(),
        Some(all) => {
            let keys: Vec<String> = all.iter().map(|tablespace| printable(&tablespace.key())).collect();
            format!("name one of the backup's tablespaces: {}", keys.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::manifest::Manifest;
    use serde_json::{Map, Value, json};

    use super::*;

    fn sample() -> Vec<Tablespace> {
        let new = |oid, name: &str, source: &str| Tablespace {
            oid,
            bytes: None,
            name: (!name.is_empty()).then(|| name.to_owned()),
            source: (!source.is_empty()).then(|| source.to_owned()),
        };
        vec![new(16398, "fast", "/srv/fast"), new(16399, "", ""), new(16400, "inside", "pg_tblspc/16400")]
    }

    fn chosen(keys: &[&str]) -> BTreeMap<String, PathBuf> {
        keys.iter().enumerate().map(|(at, key)| ((*key).to_owned(), format!("/new/{at}").into())).collect()
    }

    fn subjects(errors: &[Error]) -> Vec<&str> {
        assert!(errors.iter().all(|error| error.kind() == Kind::Refused && error.remedy().is_some()), "{errors:?}");
        errors.iter().map(Error::subject).collect()
    }

    #[test]
    fn name_oid_and_source_folder_are_keys() {
        for key in ["fast", "16398", "/srv/fast", "/srv/fast/"] {
            let (folders, errors) = assign(Some(&sample()), &chosen(&[key, "16399"]));
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(folders[&16398], TablespaceFolder::Outside("/new/0".into()), "{key}");
            assert_eq!(folders[&16400], TablespaceFolder::InPlace);
        }
    }

    #[test]
    fn tablespace_without_a_folder_is_refused() {
        let (_, errors) = assign(Some(&sample()), &chosen(&[]));
        assert_eq!(subjects(&errors), ["tablespace \"fast\" (16398)", "tablespace 16399"]);
        assert!(errors[0].remedy().unwrap().contains("--tablespace fast=/"), "{errors:?}");
        assert!(errors[1].remedy().unwrap().contains("--tablespace 16399=/"), "{errors:?}");
    }

    #[test]
    fn unknown_doubtful_and_repeated_keys_are_refused() {
        let (_, errors) = assign(Some(&sample()), &chosen(&["16399", "fast", "inside", "slow"]));
        assert_eq!(subjects(&errors), ["--tablespace inside", "--tablespace slow"]);
        assert!(errors[0].remedy().unwrap().ends_with("fast, 16399, inside"), "{errors:?}");
        let (_, errors) = assign(Some(&sample()), &chosen(&["16398", "16399", "fast"]));
        assert_eq!(subjects(&errors), ["--tablespace fast"]);
        let mut named_like_another = sample();
        named_like_another[0].name = Some("16399".to_owned());
        let (_, errors) = assign(Some(&named_like_another), &chosen(&["16399"]));
        assert_eq!(subjects(&errors), ["--tablespace 16399"]);
    }

    #[test]
    fn unknown_tablespaces_are_named_by_oid() {
        let (folders, errors) = assign(None, &chosen(&["16398", "fast"]));
        assert_eq!(folders.len(), 1);
        assert_eq!(subjects(&errors), ["--tablespace fast"]);
    }

    #[test]
    fn manifest_and_details_are_combined() {
        let mut manifest: Manifest =
            serde_json::from_str(include_str!("../../../crates/model/testdata/manifest-2.json")).unwrap();
        assert_eq!(Tablespace::of_backup(&RestoreRequest::new(&manifest, None)), None);
        manifest.base = Some(crate::tests::facts());
        let details: Map<String, Value> = serde_json::from_value(json!({"tablespaces": [
            {"oid": 16398, "path": "/srv/fast", "name": "fast"}, {"path": null}, {"oid": 7, "path": "/srv/7"}, 5
        ]}))
        .unwrap();
        let all = Tablespace::of_backup(&RestoreRequest::new(&manifest, Some(&details))).unwrap();
        assert_eq!(all.iter().map(|one| (one.oid, one.bytes)).collect::<Vec<_>>(), [(7, None), (16398, Some(1 << 20))]);
        assert_eq!(
            all.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["tablespace 7", "tablespace \"fast\" (16398)"]
        );
    }
}
