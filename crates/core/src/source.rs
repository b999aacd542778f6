//! What a dump stage records of the database that it reads, besides the bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The record, which is in the sealed details under [`Source::KEY`]. Backups that were made before it was thought of have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The version of each extension.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
    /// Whether rows and constraints mean the same on every server of the same major version: no constraint, index, generated column or
    /// partition key calls a function that may answer otherwise elsewhere, and no type depends on a setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_contained: Option<bool>,
    /// True if a restore runs queries or functions of the database's own: it fills materialized views, or a constraint, index, generated
    /// column or partition key calls a function that no extension brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_own_code: Option<bool>,
}

impl Source {
    /// Where it is in the details.
    pub const KEY: &str = "source";

    /// The record that details hold, if they do.
    pub fn of(details: &Map<String, Value>) -> Option<Self> {
        Self::deserialize(details.get(Self::KEY)?).ok()
    }

    /// As details hold it.
    pub fn into_details(self) -> Map<String, Value> {
        serde_json::to_value(self)
            .map_or_else(|_| Map::new(), |record| [(Self::KEY.to_owned(), record)].into_iter().collect())
    }

    /// The extensions whose version is another than `here`, each with the version that was recorded and the one here.
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
    fn details_without_a_record_have_none() {
        let source = Source {
            extensions: [("a".to_owned(), "1".to_owned())].into(),
            self_contained: Some(true),
            runs_own_code: None,
        };
        assert_eq!(Source::of(&source.clone().into_details()), Some(source.clone()));
        assert_eq!(Source::of(&Map::new()), None);
        let here = [("a".to_owned(), "2".to_owned())].into();
        assert_eq!(source.other_versions(&here).collect::<Vec<_>>(), [("a", "1", "2")]);
    }
}
