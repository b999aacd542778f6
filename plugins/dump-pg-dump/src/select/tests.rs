use longshore_core::manifest::DatabaseFacts;

use super::*;

fn database(name: &str) -> Database {
    let facts = DatabaseFacts {
        encoding: "UTF8".into(),
        collate: "C".into(),
        ctype: "C".into(),
        locale_provider: "libc".into(),
        locale: None,
        monetary: None,
    };
    Database {
        name: name.into(),
        allows_connections: true,
        may_connect: true,
        connection_limit: -1,
        sessions: 0,
        invalid: false,
        template: false,
        bytes: Some(1),
        facts,
    }
}

fn template(name: &str) -> Database {
    Database { template: true, ..database(name) }
}

fn role(superuser: bool) -> Server {
    serde_json::from_value(serde_json::json!({
        "version": "17.4", "role": "bk", "superuser": superuser, "reads_passwords": superuser, "reads_all_data": true,
        "bypasses_row_security": superuser, "in_recovery": false, "clock": 0.0,
        "session": { "settings": [], "superuser": superuser }
    }))
    .unwrap()
}

/// A selection from a server that has one database of each kind.
struct TestSelection {
    names: Vec<String>,
    not_captured: Vec<NotCaptured>,
    warnings: Vec<String>,
    missing: Vec<Error>,
}

fn select_as(superuser: bool, include: &[&str], exclude: &[&str]) -> TestSelection {
    let all = [
        database("app"),
        database("app-prod"),
        database("scratch_1"),
        database("a/b"),
        Database { allows_connections: false, ..database("retired") },
        Database { may_connect: superuser, ..database("private") },
        Database { connection_limit: 0, ..database("closed") },
        Database { invalid: true, connection_limit: -2, ..database("wreck") },
        Database { allows_connections: false, ..template("template0") },
        template("template1"),
        template("gis"),
        template("blank"),
        Database { may_connect: false, ..template("theirs") },
    ];
    let owned = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>();
    let inspect = |name: &str| match name {
        "template1" | "gis" => Some(TemplateContent::OwnObjects),
        "blank" => Some(TemplateContent::Empty),
        _ => None,
    };
    let selection = Selection::new(&owned(include), &owned(exclude)).unwrap();
    let Selected { databases, missing, not_captured, warnings } = selection.choose(&all, &role(superuser), inspect);
    TestSelection {
        names: databases.iter().map(|database| database.name.clone()).collect(),
        not_captured,
        warnings,
        missing: missing.into_iter().map(|(_, error)| error).collect(),
    }
}

fn select(include: &[&str], exclude: &[&str]) -> TestSelection {
    select_as(false, include, exclude)
}

fn subjects(not_captured: &[NotCaptured]) -> Vec<&str> {
    not_captured.iter().filter_map(|left| left.what.split('"').nth(1)).collect()
}

#[test]
fn star_selects_all_dumpable_databases() {
    let TestSelection { names, not_captured, warnings, missing } = select(&["*"], &["scratch_*"]);
    assert_eq!(names, ["app", "app-prod", "a/b", "gis"]);
    assert_eq!(subjects(&not_captured), ["retired", "private", "closed", "wreck", "template1", "theirs"]);
    assert!(warnings.is_empty() && missing.is_empty(), "{warnings:?} {missing:?}");
    let messages: Vec<_> = not_captured.iter().map(ToString::to_string).collect();
    assert_eq!(messages[1], "not captured: database \"private\": role bk has no CONNECT privilege");
    assert!(not_captured[0].remedy.ends_with("exclude = [\"retired\"]"), "{not_captured:?}");
    assert!(not_captured[4].remedy.contains("databases = [\"*\", \"template1\"]"), "{not_captured:?}");
}

#[test]
fn exclude_suppresses_not_captured() {
    let exclude = ["retired", "private", "closed", "wreck", "template1", "theirs", "scratch_?"];
    let TestSelection { names, not_captured, .. } = select(&["*"], &exclude);
    assert_eq!(names, ["app", "app-prod", "a/b", "gis"]);
    assert!(not_captured.is_empty(), "{not_captured:?}");
}

#[test]
fn superuser_ignores_limits_and_privileges() {
    let TestSelection { names, not_captured, .. } = select_as(true, &["*"], &[]);
    assert!(names.contains(&"private".to_owned()) && names.contains(&"closed".to_owned()), "{names:?}");
    assert_eq!(subjects(&not_captured), ["retired", "wreck", "template1", "theirs"]);
}

#[test]
fn name_selects_one_database() {
    assert_eq!(select(&["app"], &[]).names, ["app"]);
}

#[test]
fn template1_is_dumped_only_by_its_name() {
    assert_eq!(select(&["template1"], &[]).names, ["template1"]);
    assert_eq!(select(&["blank"], &[]).names, ["blank"]);
    assert!(select(&["template*", "blan?"], &[]).names.is_empty());
}

#[test]
fn unmatched_patterns_are_warnings() {
    let warnings = select(&["app", "shop_*"], &["old"]).warnings;
    assert!(warnings.len() == 2 && warnings[0].contains("shop_*") && warnings[1].contains("old"), "{warnings:?}");
}

#[test]
fn missing_name_lists_the_databases() {
    let TestSelection { names, missing, .. } = select(&["app", "shop"], &[]);
    assert_eq!(names, ["app"]);
    assert_eq!((missing.len(), missing[0].kind(), missing[0].subject()), (1, Kind::NotFound, "shop"));
    assert!(missing[0].remedy().unwrap().contains("app, app-prod"), "{missing:?}");
}

#[test]
fn undumpable_named_database_is_an_error() {
    let named = ["app", "retired", "private", "closed", "wreck"];
    let TestSelection { names, missing, not_captured, .. } = select(&named, &[]);
    let reasons = ["allows no connections", "no CONNECT privilege", "limit is 0", "interrupted"];
    assert_eq!((names, missing.len()), (vec!["app".to_owned()], reasons.len()));
    for (error, reason) in missing.iter().zip(reasons) {
        assert!(error.to_string().contains(reason), "{reason}: {error}");
        assert!(error.remedy().unwrap().ends_with("or remove it from databases"), "{error:?}");
    }
    assert!(not_captured.is_empty(), "{not_captured:?}");
    assert!(select(&named, &["retired", "private", "closed", "wreck"]).missing.is_empty());
}

#[test]
fn pattern_matches_only_its_name() {
    for name in ["rdsadmin", "a*b", "{x}", "we[i]rd?", "back\\slash", "quo\"te", "line\nfeed"] {
        let text = pattern(name);
        let line: toml::Table = toml::from_str(&format!("exclude = [{text}]")).unwrap();
        let read = line["exclude"][0].as_str().unwrap().to_owned();
        let glob = globs("exclude", &[read]).unwrap();
        assert!(matches(&glob, name) && !matches(&glob, "axb") && !matches(&glob, "x"), "{name}: {text}");
    }
}

#[test]
fn invalid_patterns_are_refused() {
    assert_eq!(Selection::new(&["a[".into()], &[]).err().unwrap().kind(), Kind::Usage);
}
