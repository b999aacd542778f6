use super::*;

/// Returns the elements with their offsets and texts, which must not depend on a cut of the SQL.
fn elements(sql: &str) -> Vec<(Element, String)> {
    let sql = sql.as_bytes();
    let whole = elements_of(&[sql]);
    for at in 0..sql.len() {
        assert_eq!(elements_of(&[&sql[..at], &sql[at..]]), whole, "{at}");
    }
    whole
}

fn elements_of(pieces: &[&[u8]]) -> Vec<(Element, String)> {
    let mut lexer = Lexer::new();
    let mut elements = Vec::new();
    let mut offset = 0;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let step = lexer.step(rest, offset).unwrap();
            assert!(step.bytes > 0);
            rest = &rest[step.bytes..];
            offset += step.bytes as u64;
            if let Some(element) = step.ended {
                elements.push((element, String::from_utf8(lexer.text().to_owned()).unwrap()));
            }
        }
    }
    elements
}

/// Returns the statements of a script.
fn statements(sql: &str) -> Vec<String> {
    let of_statement = |(element, text)| (element == Element::Statement).then_some(text);
    elements(sql).into_iter().filter_map(of_statement).collect()
}

#[test]
fn splits_statements_comments_and_commands() {
    let expected = [
        (Element::Comment, "-- one\n"),
        (Element::Statement, "SELECT 1;"),
        (Element::Command, "\\connect ';\n"),
        (Element::Statement, ";"),
        (Element::Statement, "-1 -- not\n;"),
        (Element::Comment, "--\n"),
    ];
    let expected = expected.map(|(element, text)| (element, text.to_owned()));
    assert_eq!(elements("-- one\nSELECT 1;\n\\connect ';\n/* ; */;-1 -- not\n;\n--\n"), expected);
}

#[test]
fn ignores_semicolons_in_quotes() {
    for statement in [
        "SELECT ';';",
        "SELECT 'a'';';",
        "SELECT '\\';",
        "SELECT E'\\';';",
        "SELECT e'a''\\';';",
        "SELECT date';', U&'\\';",
        "SELECT \"a\"\";\";",
        "SELECT $$;'$$;",
        "SELECT $é1$ $$ $é$ $é1 $é1$;",
        "SELECT $1 + a$b$c;",
        "SELECT 1/2 /* ; /* ' */ ; **/ * 3 - -4 -- ;'\n;",
        "CREATE RULE r DO (a; b(;););",
    ] {
        assert_eq!(statements(statement), [statement]);
        assert_eq!(statements(&format!("{statement}{statement}")), [statement, statement]);
    }
}

#[test]
fn e_prefix_must_be_a_separate_word() {
    assert_eq!(statements("SELECT date'\\';SELECT 1;"), ["SELECT date'\\';", "SELECT 1;"]);
}

#[test]
fn sql_function_body_is_one_statement() {
    let function = "create function f() begin atomic;case;end;end;";
    assert_eq!(statements(&format!("{function}SELECT 1;")), [function, "SELECT 1;"]);
    assert_eq!(statements("CREATE FUNCTION begin() AS 'x';END;"), ["CREATE FUNCTION begin() AS 'x';", "END;"]);
}

#[test]
fn keeps_only_needed_text() {
    let long = "x".repeat(2 * MAX_PARSED_BYTES);
    assert_eq!(statements(&format!("INSERT {}", &long[..1000]))[..], [""; 0]);
    for (text, kept) in [
        (format!("SELECT {long};"), HEAD_BYTES),
        (format!("-- {long}\n"), MAX_LINE_BYTES),
        (format!("COPY {long};"), MAX_PARSED_BYTES),
    ] {
        let pieces = text.as_bytes();
        assert_eq!(elements_of(&[pieces])[0].1, text[..kept]);
        assert_eq!(elements_of(&[&pieces[..30], &pieces[30..90], &pieces[90..]])[0].1, text[..kept]);
    }
}

#[test]
fn tracks_line_starts() {
    let mut lexer = Lexer::new();
    for (sql, at_line_start) in [("-- a\n", true), (";", true), (" -- b\n", false), ("\n-- c\n", true)] {
        let mut rest = sql.as_bytes();
        while !rest.is_empty() {
            rest = &rest[lexer.step(rest, 0).unwrap().bytes..];
        }
        assert_eq!(lexer.at_line_start(), at_line_start, "{sql}");
    }
}
