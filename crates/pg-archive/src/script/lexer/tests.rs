use super::*;

/// Returns the tokens with their offsets and texts, which must not depend on a cut of the SQL.
fn tokens(sql: &str) -> Vec<(Token, String)> {
    let sql = sql.as_bytes();
    let whole = tokens_of(&[sql]);
    for at in 0..sql.len() {
        assert_eq!(tokens_of(&[&sql[..at], &sql[at..]]), whole, "{at}");
    }
    whole
}

fn tokens_of(pieces: &[&[u8]]) -> Vec<(Token, String)> {
    let mut lexer = Lexer::new();
    let mut tokens = Vec::new();
    let mut offset = 0;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let step = lexer.step(rest, offset).unwrap();
            assert!(step.bytes > 0);
            rest = &rest[step.bytes..];
            offset += step.bytes as u64;
            if let Some(token) = step.ended {
                tokens.push((token, String::from_utf8(lexer.text().to_owned()).unwrap()));
            }
        }
    }
    tokens
}

/// Returns the statements of a script.
fn statements(sql: &str) -> Vec<String> {
    let of_statement = |(token, text)| (token == Token::Statement).then_some(text);
    tokens(sql).into_iter().filter_map(of_statement).collect()
}

#[test]
fn statements_comments_and_commands_stand_side_by_side() {
    let expected = [
        (Token::Comment, "-- one\n"),
        (Token::Statement, "SELECT 1;"),
        (Token::Command, "\\connect ';\n"),
        (Token::Statement, ";"),
        (Token::Statement, "-1 -- not\n;"),
        (Token::Comment, "--\n"),
    ];
    let expected = expected.map(|(token, text)| (token, text.to_owned()));
    assert_eq!(tokens("-- one\nSELECT 1;\n\\connect ';\n/* ; */;-1 -- not\n;\n--\n"), expected);
}

#[test]
fn quotes_hide_semicolons() {
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
fn a_string_begins_with_an_e_only_where_that_is_a_word() {
    assert_eq!(statements("SELECT date'\\';SELECT 1;"), ["SELECT date'\\';", "SELECT 1;"]);
}

#[test]
fn a_function_in_standard_sql_is_one_statement() {
    let function = "create function f() begin atomic;case;end;end;";
    assert_eq!(statements(&format!("{function}SELECT 1;")), [function, "SELECT 1;"]);
    assert_eq!(statements("CREATE FUNCTION begin() AS 'x';END;"), ["CREATE FUNCTION begin() AS 'x';", "END;"]);
}

#[test]
fn only_what_matters_is_kept() {
    let long = "x".repeat(2 * MAX_TAKEN_APART_BYTES);
    assert_eq!(statements(&format!("INSERT {}", &long[..1000]))[..], [""; 0]);
    for (text, kept) in [
        (format!("SELECT {long};"), HEAD_BYTES),
        (format!("-- {long}\n"), MAX_LINE_BYTES),
        (format!("COPY {long};"), MAX_TAKEN_APART_BYTES),
    ] {
        let pieces = text.as_bytes();
        assert_eq!(tokens_of(&[pieces])[0].1, text[..kept]);
        assert_eq!(tokens_of(&[&pieces[..30], &pieces[30..90], &pieces[90..]])[0].1, text[..kept]);
    }
}

#[test]
fn it_is_known_what_begins_a_line() {
    let mut lexer = Lexer::new();
    for (sql, at_line_start) in [("-- a\n", true), (";", true), (" -- b\n", false), ("\n-- c\n", true)] {
        let mut rest = sql.as_bytes();
        while !rest.is_empty() {
            rest = &rest[lexer.step(rest, 0).unwrap().bytes..];
        }
        assert_eq!(lexer.at_line_start(), at_line_start, "{sql}");
    }
}
