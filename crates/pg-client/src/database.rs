//! The statement that creates a database with the properties of another.

use longshore_core::manifest::DatabaseFacts;

use crate::server::{identifier, literal};

/// Returns the statement that creates a database with the recorded encoding and locale of another.
pub fn create(database: &str, facts: Option<&DatabaseFacts>) -> String {
    let mut statement = format!("create database {} template template0", identifier(database));
    if let Some(facts) = facts {
        let DatabaseFacts { encoding, collate, ctype, locale_provider, locale, monetary: _ } = facts;
        let locale = locale.as_deref().map(literal).unwrap_or_default();
        statement +=
            &format!(" encoding {} lc_collate {} lc_ctype {}", literal(encoding), literal(collate), literal(ctype));
        match locale_provider.as_str() {
            "icu" => statement += &format!(" locale_provider icu icu_locale {locale}"),
            "builtin" => statement += &format!(" locale_provider builtin builtin_locale {locale}"),
            _ => {}
        }
    }
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_sets_encoding_and_locale() {
        let facts = DatabaseFacts {
            encoding: "LATIN1".to_owned(),
            collate: "C".to_owned(),
            ctype: "it's".to_owned(),
            locale_provider: "icu".to_owned(),
            locale: Some("de".to_owned()),
            monetary: None,
        };
        let statement = create("a\"b", Some(&facts));
        assert!(
            statement.starts_with("create database \"a\"\"b\" template template0 encoding 'LATIN1'"),
            "{statement}"
        );
        assert!(statement.ends_with(" lc_ctype 'it''s' locale_provider icu icu_locale 'de'"), "{statement}");
    }
}
