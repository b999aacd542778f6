//! Guards the language of comments, messages and documentation, as far as a machine sees it.

use std::fs;
use std::path::{Path, PathBuf};

use ra_ap_rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

use crate::{files_below, root};

/// The most columns of a line of a comment or of Markdown.
const COLUMNS: usize = 100;

/// Words that begin no summary: a summary begins with a verb or with a noun.
const FIRST: [&str; 12] =
    ["What", "Who", "Whoever", "Whose", "Whatever", "Whether", "How", "Where", "Why", "That", "Which", "Nobody"];

/// Words for which the field has others: report, store, contain, remove, resume, verify.
const PRIVATE: [&str; 44] = [
    "tell",
    "tells",
    "told",
    "telling",
    "say",
    "says",
    "said",
    "saying",
    "hear",
    "hears",
    "heard",
    "hearing",
    "bring",
    "brings",
    "brought",
    "bringing",
    "lie",
    "lies",
    "lay",
    "laid",
    "lying",
    "stand",
    "stands",
    "stood",
    "standing",
    "go",
    "goes",
    "gone",
    "went",
    "going",
    "judge",
    "judges",
    "judged",
    "judging",
    "judgement",
    "whoever",
    "whatever",
    "whichever",
    "somebody",
    "nobody",
    "everybody",
    "anybody",
    "likewise",
    "wherever",
];

/// Pairs of such words: compare, roll back, abort.
const PRIVATE_PAIRS: [[&str; 2]; 8] = [
    ["hold", "against"],
    ["held", "against"],
    ["take", "back"],
    ["taken", "back"],
    ["took", "back"],
    ["give", "up"],
    ["given", "up"],
    ["gave", "up"],
];

/// The most characters of a test's name.
const TEST_NAME: usize = 60;

/// Words that begin no test's name: a name begins with its subject.
const TEST_FIRST: [&str; 9] = ["what", "who", "whoever", "where", "that", "how", "whether", "nobody", "somebody"];

/// A text that people read, and the line on which it begins.
struct Text<'a> {
    line: usize,
    text: &'a str,
    is_comment: bool,
}

/// The files below the folders of the project, and those at its top, by their paths within it.
fn files(extension: &str) -> Vec<(String, String)> {
    let mut files = vec![root().join("README.md"), root().join("config.example.toml")];
    files.extend(["crates", "plugins", "tests"].iter().flat_map(|folder| files_below(&root().join(folder))));
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    let named = |path: PathBuf| (path.strip_prefix(root()).unwrap().display().to_string(), read(&path));
    files.into_iter().map(named).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The comments of a source file, and its strings of more than one word.
fn texts(source: &str) -> Vec<Text<'_>> {
    let (mut texts, mut place) = (Vec::new(), 0);
    for token in tokenize(source, FrontmatterAllowed::No) {
        let text = &source[place..][..token.len as usize];
        let is_comment = matches!(token.kind, TokenKind::LineComment { .. } | TokenKind::BlockComment { .. });
        let is_string =
            matches!(token.kind, TokenKind::Literal { kind: LiteralKind::Str { .. } | LiteralKind::RawStr { .. }, .. });
        if is_comment || (is_string && text.trim_matches('"').contains(' ')) {
            texts.push(Text { line: source[..place].matches('\n').count() + 1, text, is_comment });
        }
        place += token.len as usize;
    }
    texts
}

/// Returns the private words in a text, without its code and without the names in its placeholders.
fn private(text: &str) -> Vec<String> {
    let prose = text.split('`').step_by(2);
    // The target of a link.
    let prose: Vec<&str> = prose
        .map(|part| part.strip_prefix("](").and_then(|link| link.split_once(')')).map_or(part, |(_, after)| after))
        .collect();
    let prose = prose.join("``").to_lowercase();
    let prose: String = prose
        .split('{')
        .map(|part| part.split_once('}').map_or(part, |(_, after)| after))
        .collect::<Vec<_>>()
        .join(" ");
    let words: Vec<&str> =
        prose.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).filter(|pair| PRIVATE_PAIRS.iter().any(|private| pair == private));
    let found = words.iter().filter(|word| PRIVATE.contains(word)).map(|word| (*word).to_owned());
    found.chain(pairs.map(|pair| pair.join(" "))).collect()
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
}

/// Returns the names of the tests of a source file.
fn test_names(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            let function = lines.find_map(|line| line.split_once("fn ")).map(|(_, rest)| rest);
            names.extend(function.and_then(|rest| rest.split(['(', '<']).next()));
        }
    }
    names
}

fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn summaries_begin_with_a_verb_or_a_noun() {
    let mut wrong = Vec::new();
    for (file, source) in files("rs") {
        let mut before = "";
        for (line, text) in source.lines().map(str::trim).enumerate() {
            let marker = ["///", "//!"].into_iter().find(|marker| text.starts_with(marker));
            let summary = marker.filter(|marker| !before.starts_with(marker)).map(|marker| text[marker.len()..].trim());
            wrong.extend(
                summary.filter(|it| FIRST.contains(&first_word(it))).map(|it| format!("{file}:{}: {it}", line + 1)),
            );
            before = text;
        }
    }
    expect_none(&wrong);
}

#[test]
fn comments_and_messages_use_the_words_of_the_field() {
    let mut wrong = Vec::new();
    for (file, source) in files("rs").into_iter().filter(|(file, _)| !file.ends_with("xtask/tests/rules/language.rs")) {
        for text in texts(&source) {
            wrong.extend(private(text.text).iter().map(|word| format!("{file}:{}: {word}", text.line)));
        }
    }
    expect_none(&wrong);
}

#[test]
fn documentation_uses_the_words_of_the_field() {
    let mut wrong = Vec::new();
    let documents =
        files("md").into_iter().chain(files("toml").into_iter().filter(|(file, _)| !file.contains("Cargo")));
    for (file, text) in documents {
        let mut is_code = false;
        for (line, text) in text.lines().enumerate() {
            is_code ^= text.trim_start().starts_with("```");
            let is_prose = if file.ends_with(".toml") { text.starts_with('#') } else { !is_code };
            if !is_prose {
                continue;
            }
            wrong.extend(private(text).iter().map(|word| format!("{file}:{}: {word}", line + 1)));
            let may_be_long = text.starts_with('|') || text.contains("http");
            if text.chars().count() > COLUMNS && !may_be_long {
                wrong.push(format!("{file}:{}: {} columns", line + 1, text.chars().count()));
            }
        }
    }
    expect_none(&wrong);
}

#[test]
fn comments_are_at_most_100_columns_wide() {
    let mut wrong = Vec::new();
    for (file, source) in files("rs") {
        let lines: Vec<&str> = source.lines().collect();
        for text in texts(&source).iter().filter(|text| text.is_comment) {
            let line = lines[text.line - 1];
            let is_alone = line.trim_start().starts_with("//");
            if is_alone && line.chars().count() > COLUMNS {
                wrong.push(format!("{file}:{}: {} columns", text.line, line.chars().count()));
            }
        }
    }
    expect_none(&wrong);
}

#[test]
fn readme_has_at_most_1200_words() {
    let words = read(&root().join("README.md")).split_whitespace().count();
    assert!(words <= 1200, "{words} words");
}

#[test]
fn test_names_are_short_sentences() {
    let mut wrong = Vec::new();
    for (file, source) in files("rs") {
        for name in test_names(&source) {
            let first = name.split('_').next().unwrap_or_default();
            if name.len() > TEST_NAME || TEST_FIRST.contains(&first) {
                wrong.push(format!("{file}: {name}"));
            }
        }
    }
    expect_none(&wrong);
}
