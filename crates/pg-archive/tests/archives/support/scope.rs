//! The part of a matrix of damages and archives that a test covers.

use std::collections::BTreeMap;

/// A part of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All damages of all archives.
    Complete,
    /// Every kind of damage at every place, each in one of the archives in turn.
    Sample,
}

/// The kind and the place of a damage, and its number among those of its archive with both.
type Key = (&'static str, &'static str, usize);

impl Scope {
    /// Returns the damages of each archive in this scope. `key` returns the kind and the place of a
    /// damage.
    pub(crate) fn select<D>(
        self,
        archives: Vec<Vec<D>>,
        key: impl Fn(&D) -> (&'static str, &'static str),
    ) -> Vec<Vec<D>> {
        if self == Self::Complete {
            return archives;
        }
        let archives: Vec<_> = archives.into_iter().map(|damages| numbered(damages, &key)).collect();
        let mut archives_with: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for (archive, damages) in archives.iter().enumerate() {
            damages.iter().for_each(|(key, _)| archives_with.entry(*key).or_default().push(archive));
        }
        let in_turn = |(number, (key, archives)): (usize, (Key, Vec<usize>))| (key, archives[number % archives.len()]);
        let selected: BTreeMap<Key, usize> = archives_with.into_iter().enumerate().map(in_turn).collect();
        let of_archive = |(archive, damages): (usize, Vec<(Key, D)>)| {
            damages.into_iter().filter(|(key, _)| selected[key] == archive).map(|(_, damage)| damage).collect()
        };
        archives.into_iter().enumerate().map(of_archive).collect()
    }
}

fn numbered<D>(damages: Vec<D>, key: impl Fn(&D) -> (&'static str, &'static str)) -> Vec<(Key, D)> {
    let mut counts = BTreeMap::new();
    let numbered = damages.into_iter().map(|damage| {
        let (what, place) = key(&damage);
        let count = counts.entry((what, place)).or_insert(0);
        *count += 1;
        ((what, place, *count), damage)
    });
    numbered.collect()
}

#[test]
fn sample_contains_each_damage_in_one_archive() {
    let archives = vec![vec!["a", "b", "b", "c", "e"], vec!["a", "b", "c", "d", "e"]];
    let key = |damage: &&'static str| (*damage, "place");
    assert_eq!(Scope::Complete.select(archives.clone(), key), archives);
    // Only one archive has a second "b", and only one has a "d".
    assert_eq!(Scope::Sample.select(archives, key), [vec!["a", "b"], vec!["b", "c", "d", "e"]]);
}
