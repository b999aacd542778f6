//! The file format of pg_back: `key = value`, and a section for each database.

use std::collections::BTreeMap;

/// A parsed file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ini {
    /// The keys outside of sections.
    pub(super) global: Section,
    /// The sections in the order of the file, each named after a database.
    pub(super) databases: Vec<(String, Section)>,
}

/// The keys of a section.
pub(super) type Section = BTreeMap<String, String>;

impl Ini {
    /// Parses a file. Fails with the number of the first line that is none of a comment, a section
    /// and a key with a value.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        let mut ini = Self::default();
        for (number, line) in (1_usize..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                ini.databases.push((name.trim().to_owned(), Section::new()));
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(number)?;
            let section = match ini.databases.last_mut() {
                Some((_, section)) => section,
                None => &mut ini.global,
            };
            section.insert(key.trim().to_owned(), unquoted(without_comment(value.trim())).to_owned());
        }
        Ok(ini)
    }
}

/// Removes a comment at the end of a value. A quoted value contains none.
fn without_comment(value: &str) -> &str {
    if value.starts_with(['"', '\'', '`']) {
        return value;
    }
    let comment = [" #", " ;", "\t#", "\t;"].iter().filter_map(|start| value.find(start)).min();
    if value.starts_with(['#', ';']) { "" } else { value[..comment.unwrap_or(value.len())].trim_end() }
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    ['"', '\'', '`'].into_iter().find_map(quoted).unwrap_or(value)
}

/// Splits a list of names at commas.
pub(super) fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Splits words as a shell does: quotes group, and a backslash keeps the next character. Returns
/// `None` for an unterminated quote.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(letters.next()?),
            (_, Some(end)) if letter == end => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(letter),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, None) if letter.is_whitespace() => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_to_their_section() {
        let text =
            "# x\nhost = /tmp\nport=\n; y\nformat = \"plain\" \nuser = me # not you\n\n[my db]\nformat = tar\n[b]\n";
        let ini = Ini::parse(text).unwrap();
        let global: Vec<_> = ini.global.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(global, [("format", "plain"), ("host", "/tmp"), ("port", ""), ("user", "me")]);
        assert_eq!(ini.databases[0], ("my db".into(), [("format".into(), "tar".into())].into()));
        assert_eq!(ini.databases[1].0, "b");
        assert_eq!(Ini::parse("host = x\n\nexport A"), Err(3));
    }

    #[test]
    fn words_split_as_in_a_shell() {
        let split = |text| words(text).unwrap();
        assert_eq!(split(r#"/bin/mail -s "a b" 'c"d' e\ f """#), ["/bin/mail", "-s", "a b", "c\"d", "e f", ""]);
        assert_eq!(split("  "), [] as [&str; 0]);
        assert_eq!(words("'x"), None);
        assert_eq!(list(" a, b,,c "), ["a", "b", "c"]);
    }
}
