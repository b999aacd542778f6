//! Strings and identifiers in replication commands. Source: `repl_scanner.l`.

/// Quotes a string. Backslashes have no meaning.
pub(crate) fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Quotes an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(string(r"it's \n"), r"'it''s \n'");
        assert_eq!(identifier("a\"b; DROP"), "\"a\"\"b; DROP\"");
    }
}
