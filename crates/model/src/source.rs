//! Properties of the dumped database, recorded by the dump stage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The record in the encrypted details under [`SourceFacts::KEY`]. Details of older backups lack
/// it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// The version of each extension.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
    /// True if rows and constraints have the same meaning on every server of the same major
    /// version: no constraint, index, generated column or partition key calls a function whose
    /// result may differ elsewhere, and no type depends on a setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_contained: Option<bool>,
    /// True if a restore runs the database's own queries or functions: the database has
    /// materialized views, or a constraint, index, generated column or partition key calls a
    /// function that belongs to no extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_own_code: Option<bool>,
}

impl SourceFacts {
    /// The key of the record in the details.
    pub const KEY: &str = "source";

    /// Returns the record in the details, if they contain one.
    pub fn of(details: &Map<String, Value>) -> Option<Self> {
        Self::deserialize(details.get(Self::KEY)?).ok()
    }

    /// Returns the details that contain this record.
    pub fn into_details(self) -> Map<String, Value> {
        serde_json::to_value(self)
            .map_or_else(|_| Map::new(), |record| [(Self::KEY.to_owned(), record)].into_iter().collect())
    }

    /// Returns the extensions whose version differs from `here`, each with the recorded version and
    /// the version in `here`.
    pub fn other_versions<'a>(
        &'a self,
        here: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.extensions.iter().filter_map(|(name, recorded)| {
            let here = here.get(name).filter(|here| *here != recorded)?;
            Some((name.as_str(), recorded.as_str(), here.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_without_a_record_have_no_source() {
        let source = SourceFacts {
            extensions: [("a".to_owned(), "1".to_owned())].into(),
            self_contained: Some(true),
            runs_own_code: None,
        };
        assert_eq!(SourceFacts::of(&source.clone().into_details()), Some(source.clone()));
        assert_eq!(SourceFacts::of(&Map::new()), None);
        let here = [("a".to_owned(), "2".to_owned())].into();
        assert_eq!(source.other_versions(&here).collect::<Vec<_>>(), [("a", "1", "2")]);
    }
}
