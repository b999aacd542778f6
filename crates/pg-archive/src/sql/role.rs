//! The names of roles in pg_dump's statements.

use std::iter::Peekable;
use std::ops::Range;

use super::token::{Strings, Token, TokenKind, Tokens};

/// The name of a role and its range in the SQL, including quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) range: Range<usize>,
    pub(crate) name: Vec<u8>,
}

/// Returns the roles that statements name as such: grantees, owners, and the roles of policies.
/// Other occurrences, such as a table with the same name, an expression or a string, do not count.
/// `PUBLIC` is not a role.
///
/// Supports the statements in which pg_dump writes roles, and finds none in any other: `GRANT`,
/// `REVOKE`, `ALTER DEFAULT PRIVILEGES`, `CREATE POLICY`, `CREATE` and `DROP USER MAPPING`,
/// `CREATE SCHEMA … AUTHORIZATION`, `ALTER … OWNER TO`, `ALTER ROLE`, `SET SESSION AUTHORIZATION`.
pub(crate) fn roles(sql: &[u8], strings: Strings) -> Vec<Role> {
    let tokens = Tokens::new(sql, strings);
    let mut parser = RoleParser { names: tokens.clone(), tokens: tokens.peekable(), roles: Vec::new() };
    while parser.tokens.peek().is_some() {
        parser.statement();
        parser.finish_statement();
    }
    parser.roles
}

/// A parser of consecutive statements.
struct RoleParser<'a> {
    tokens: Peekable<Tokens<'a>>,
    /// The text of the tokens.
    names: Tokens<'a>,
    roles: Vec<Role>,
}

impl RoleParser<'_> {
    /// Returns true if the statement ends here.
    fn is_end(token: &Token) -> bool {
        token.kind == TokenKind::Symbol(b';') && token.depth == 0
    }

    /// Skips the rest of the statement.
    fn finish_statement(&mut self) {
        for token in self.tokens.by_ref() {
            if Self::is_end(&token) {
                return;
            }
        }
    }

    /// Consumes a token if it is this keyword.
    fn accept(&mut self, keyword: &str) -> bool {
        let names = &self.names;
        self.tokens.next_if(|token| names.is(token, keyword)).is_some()
    }

    /// Skips to after one of `keywords` outside of parentheses. Stops and returns false before one
    /// of `ends`, or at the end of the statement.
    fn skip_past(&mut self, keywords: &[&str], ends: &[&str]) -> bool {
        let names = &self.names;
        while let Some(token) = self.tokens.peek() {
            let is_one_of = |words: &[&str]| token.depth == 0 && words.iter().any(|word| names.is(token, word));
            if Self::is_end(token) || is_one_of(ends) {
                return false;
            }
            let found = is_one_of(keywords);
            self.tokens.next();
            if found {
                return true;
            }
        }
        false
    }

    /// Consumes the name of a role, if one is next.
    fn role(&mut self) {
        let names = &self.names;
        let Some(token) = self.tokens.next_if(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted)) else {
            return;
        };
        if let Some(name) = names.name(&token).filter(|name| !is_pseudo_role(name)) {
            self.roles.push(Role { range: token.range, name });
        }
    }

    /// Consumes a list of roles.
    fn list(&mut self) {
        loop {
            self.accept("GROUP");
            self.role();
            if self.tokens.next_if(|token| token.kind == TokenKind::Symbol(b',')).is_none() {
                return;
            }
        }
    }

    fn statement(&mut self) {
        if self.accept("GRANT") || self.accept("REVOKE") {
            self.grant();
        } else if self.accept("ALTER") {
            self.alter();
        } else if self.accept("CREATE") {
            self.create();
        } else if self.accept("DROP") {
            if self.accept("USER") && self.accept("MAPPING") && self.skip_past(&["FOR"], &[]) {
                self.role();
            }
        } else if self.accept("SET") && self.accept("SESSION") && self.accept("AUTHORIZATION") {
            self.session();
        }
    }

    /// Consumes the name, which may also be a string.
    fn session(&mut self) {
        let names = &self.names;
        match self.tokens.next_if(|token| token.kind == TokenKind::String) {
            Some(token) => {
                if let Some(name) = names.string(&token) {
                    self.roles.push(Role { range: token.range, name });
                }
            }
            None if self.accept("DEFAULT") => {}
            None => self.role(),
        }
    }

    /// Consumes the privileges and the roles. `TO` and `FROM` are reserved words, so no other
    /// unquoted name equals them.
    fn grant(&mut self) {
        if self.skip_past(&["TO", "FROM"], &[]) {
            self.list();
            if self.skip_past(&["GRANTED"], &[]) && self.accept("BY") {
                self.role();
            }
        }
    }

    fn alter(&mut self) {
        if self.accept("DEFAULT") {
            self.accept("PRIVILEGES");
            if self.accept("FOR") {
                let _is_role = self.accept("ROLE") || self.accept("USER");
                self.list();
            }
            if self.skip_past(&["GRANT", "REVOKE"], &[]) {
                self.grant();
            }
        } else if self.accept("ROLE") {
            self.role();
        } else {
            while self.skip_past(&["OWNER"], &["RENAME"]) {
                if self.accept("TO") {
                    self.role();
                }
            }
        }
    }

    fn create(&mut self) {
        if self.accept("POLICY") {
            if self.skip_past(&["TO"], &["USING", "WITH"]) {
                self.list();
            }
        } else if self.accept("USER") {
            if self.accept("MAPPING") && self.skip_past(&["FOR"], &[]) {
                self.role();
            }
        } else if self.accept("SCHEMA") && self.skip_past(&["AUTHORIZATION"], &[]) {
            self.role();
        }
    }
}

/// Returns true if PostgreSQL treats a name as all roles or none, quoted or not.
fn is_pseudo_role(name: &[u8]) -> bool {
    matches!(name, b"public" | b"none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles_of(sql: &str) -> Vec<String> {
        let roles = roles(sql.as_bytes(), Strings::Standard);
        roles.into_iter().map(|role| String::from_utf8(role.name).unwrap()).collect()
    }

    #[test]
    fn finds_roles_in_all_pg_dump_statements() {
        for (sql, roles) in [
            ("GRANT SELECT(a),UPDATE(b) ON TABLE public.app TO app WITH GRANT OPTION;\n", &["app"][..]),
            ("REVOKE ALL ON FUNCTION s.\"to\"(app text, \"from\" text) FROM PUBLIC;", &[]),
            (
                "GRANT ALL ON TABLE s.\"x TO app;\" TO GROUP \"Anna \"\"O'Brien\", bob GRANTED BY carl;",
                &["Anna \"O'Brien", "bob", "carl"],
            ),
            (
                "SET SESSION AUTHORIZATION anna;\nGRANT ALL ON SCHEMA app TO bob;\nRESET SESSION AUTHORIZATION;\n",
                &["anna", "bob"],
            ),
            ("SET SESSION AUTHORIZATION 'an''na'; SET SESSION AUTHORIZATION DEFAULT;", &["an'na"]),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE anna IN SCHEMA app REVOKE ALL ON TABLES  FROM anna;\n\
                 ALTER DEFAULT PRIVILEGES FOR ROLE anna GRANT SELECT ON TABLES  TO bob;",
                &["anna", "anna", "anna", "bob"],
            ),
            ("CREATE POLICY app ON s.app FOR SELECT TO app, \"b,c\" USING ((owner = 'app'::name));", &["app", "b,c"]),
            ("CREATE POLICY app ON s.app USING ((x = ANY (ARRAY[app])));", &[]),
            ("CREATE USER MAPPING FOR anna SERVER app OPTIONS (\"user\" 'anna');", &["anna"]),
            ("DROP USER MAPPING IF EXISTS FOR anna SERVER anna;", &["anna"]),
            ("CREATE SCHEMA app AUTHORIZATION anna;", &["anna"]),
            ("ALTER TABLE ONLY app.anna OWNER TO bob;", &["bob"]),
            ("ALTER TABLE app RENAME COLUMN owner TO bob;", &[]),
            (
                "ALTER DATABASE anna SET search_path TO 'anna'; ALTER ROLE bob IN DATABASE anna SET role TO 'x';",
                &["bob"],
            ),
            ("CREATE TABLE app (owner text DEFAULT 'GRANT x TO anna;'); COMMENT ON ROLE x IS 'to anna';", &[]),
            ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$GRANT a TO anna; $$;GRANT a ON b TO \"public\"", &[]),
        ] {
            assert_eq!(roles_of(sql), roles, "{sql}");
        }
    }
}
