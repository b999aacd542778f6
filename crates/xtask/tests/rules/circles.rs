//! The modules of a layer import each other without circles: each can be read after those that it
//! imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ra_ap_rustc_lexer::{FrontmatterAllowed, TokenKind, tokenize};

use crate::{files_below, root};

/// The crates whose modules may not form circles.
const LAYERS: [&str; 6] = ["model", "retention", "core", "catalog", "config", "engine"];

/// The imports of each module of a crate. A module here is a file below `src`, or a folder with the
/// file of the same name.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_of_a_layer_form_no_circle() {
    let mut circles = Vec::new();
    for layer in LAYERS {
        let imports = imports(&root().join("crates").join(layer).join("src"));
        circles.extend(circle(&imports).map(|modules| format!("{layer}: {}", modules.join(" → "))));
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn circles_are_found() {
    let imports = |text: &[(&str, &[&str])]| -> Imports {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        text.iter().map(|(name, names)| ((*name).to_owned(), set(names))).collect()
    };
    assert_eq!(circle(&imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&imports(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).unwrap();
    assert_eq!(found, ["b", "c", "b"]);
}

#[test]
fn imports_are_read_from_code_only() {
    let text = "use crate::key::{Key, Stamp};\nfn f() -> crate::error::Result<()> {} // crate::comment::X\n\
                const TEXT: &str = \"crate::text\";\n#[cfg(test)]\nmod tests { use crate::test::X; }\n";
    let expected: BTreeSet<_> = ["key", "error"].map(str::to_owned).into();
    assert_eq!(imported(text), expected);
    assert_eq!(imported("use crate::{key, mark::{Mark, Says}};"), ["key", "mark"].map(str::to_owned).into());
}

/// Reads the imports of the modules below `folder`, without those of tests.
fn imports(folder: &Path) -> Imports {
    let mut imports = Imports::new();
    for file in files_below(folder) {
        let path = file.strip_prefix(folder).unwrap();
        if path.iter().any(|part| part == "tests" || part == "tests.rs") || path == Path::new("lib.rs") {
            continue;
        }
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let mut all = imported(&fs::read_to_string(&file).unwrap());
        all.remove(&module);
        imports.entry(module).or_default().extend(all);
    }
    let known: BTreeSet<String> = imports.keys().cloned().collect();
    imports.values_mut().for_each(|all| all.retain(|name| known.contains(name)));
    imports
}

/// Returns the modules that follow `crate::` in a file, without those in code for tests.
fn imported(text: &str) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = end_of_item(&tokens, at);
        } else if tokens[at..].starts_with(&["crate", ":", ":", "{"]) {
            // The names at the first level of the braces.
            let (mut depth, mut is_first) = (0, false);
            for (offset, token) in tokens[at + 3..].iter().enumerate() {
                match *token {
                    "{" => (depth, is_first) = (depth + 1, depth == 0),
                    "}" => depth -= 1,
                    "," => is_first = depth == 1,
                    name if is_first && depth == 1 => {
                        found.insert(name.to_owned());
                        is_first = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    at += 3 + offset;
                    break;
                }
            }
        } else if tokens[at..].starts_with(&["crate", ":", ":"]) {
            found.extend(tokens.get(at + 3).map(|name| (*name).to_owned()));
        }
        at += 1;
    }
    found
}

/// Returns the index of the last token of the item that begins with the attribute at `at`.
fn end_of_item(tokens: &[&str], at: usize) -> usize {
    let mut depth = 0;
    for (offset, token) in tokens[at + 7..].iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(*token, "}" | ";") {
            return at + 7 + offset;
        }
    }
    tokens.len()
}

/// Splits a file into its tokens, without comments and spaces.
fn tokens(text: &str) -> Vec<&str> {
    let mut at = 0;
    let mut tokens = Vec::new();
    for token in tokenize(text, FrontmatterAllowed::No) {
        let end = at + token.len as usize;
        let is_code = !matches!(
            token.kind,
            TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } | TokenKind::Whitespace
        );
        tokens.extend(is_code.then(|| &text[at..end]));
        at = end;
    }
    tokens
}

/// Returns a circle of imports, if there is one, with its first module repeated at the end.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| follow(imports, module, &mut Vec::new(), &mut done))
}

fn follow<'a>(
    imports: &'a Imports,
    module: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|name| *name == module) {
        return Some(path[start..].iter().copied().chain([module]).map(str::to_owned).collect());
    }
    if done.contains(module) {
        return None;
    }
    path.push(module);
    let found = imports.get(module)?.iter().find_map(|next| follow(imports, next, path, done));
    path.pop();
    done.insert(module);
    found
}
