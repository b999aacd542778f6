//! The keys of a configuration, and what became of each.

use super::ini::Section;

/// The outcome of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The key became this setting.
    Taken { key: String, setting: String },
    /// The key was not taken, for this reason.
    NotTaken { key: String, why: String },
}

impl Note {
    /// Returns the key and its setting.
    pub(super) fn as_taken(&self) -> Option<(&str, &str)> {
        match self {
            Self::Taken { key, setting } => Some((key, setting)),
            Self::NotTaken { .. } => None,
        }
    }

    /// Returns the key and the reason why it was not taken.
    pub(super) fn as_not_taken(&self) -> Option<(&str, &str)> {
        match self {
            Self::Taken { .. } => None,
            Self::NotTaken { key, why } => Some((key, why)),
        }
    }
}

/// The keys of a section that were not looked at yet, and the notes about the others.
pub(super) struct Keys {
    /// The database of the section, for notes.
    database: Option<String>,
    keys: Section,
    notes: Vec<Note>,
}

impl Keys {
    /// Creates the keys of a section. An empty value is that of a missing key, except for keys
    /// whose empty value cancels another.
    pub(super) fn new(database: Option<&str>, mut keys: Section) -> Self {
        keys.retain(|key, value| !value.is_empty() || database.is_some() && key == "pg_dump_options");
        Self { database: database.map(str::to_owned), keys, notes: Vec::new() }
    }

    /// Returns the value of a key, which becomes this setting.
    pub(super) fn take(&mut self, key: &str, setting: &str) -> Option<String> {
        let value = self.keys.remove(key)?;
        self.note(Note::Taken { key: key.to_owned(), setting: setting.to_owned() });
        Some(value)
    }

    /// Returns the value of a key without a note.
    pub(super) fn look(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    /// Returns true if a key has one of the values that pg_back reads as true.
    pub(super) fn is_true(&self, key: &str) -> bool {
        self.look(key)
            .is_some_and(|value| ["1", "t", "true", "y", "yes", "on"].contains(&value.to_lowercase().as_str()))
    }

    /// Notes that a key is not taken, if it is there.
    pub(super) fn leave(&mut self, key: &str, why: &str) {
        if self.keys.remove(key).is_some() {
            self.note(Note::NotTaken { key: key.to_owned(), why: why.to_owned() });
        }
    }

    /// Notes a part of a key that is not taken.
    pub(super) fn leave_part(&mut self, part: String, why: &str) {
        self.note(Note::NotTaken { key: part, why: why.to_owned() });
    }

    fn note(&mut self, note: Note) {
        let named = |key: String| match &self.database {
            Some(database) => format!("[{database}] {key}"),
            None => key,
        };
        self.notes.push(match note {
            Note::Taken { key, setting } => Note::Taken { key: named(key), setting },
            Note::NotTaken { key, why } => Note::NotTaken { key: named(key), why },
        });
    }

    /// Returns the notes, without one for each key that is left.
    pub(super) fn finish_quietly(self) -> Vec<Note> {
        self.notes
    }

    /// Returns the notes about all keys.
    pub(super) fn finish(mut self) -> Vec<Note> {
        for key in std::mem::take(&mut self.keys).into_keys() {
            self.note(Note::NotTaken { key, why: "pg_back has no such key".to_owned() });
        }
        self.notes
    }
}
