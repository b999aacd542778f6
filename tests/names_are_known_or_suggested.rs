//! An unknown name is an error that suggests the nearest name, in every command that accepts names.

use crate::support::Workshop;

#[test]
fn every_verb_suggests_the_name_that_was_meant() {
    let workshop = Workshop::new();
    // In an empty destination, every name is accepted.
    workshop.longshore(&["list", "apdb"]).expect(0).says("no backups");
    workshop.cluster.create_database("appdb");
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["list", "appdb"]).expect(0).says("main/appdb");
    let to = workshop.cluster.connection();
    let file = workshop.path("out").display().to_string();
    for verb in [
        vec!["list", "apdb"],
        vec!["list", "apdb", "--json"],
        vec!["verify", "apdb"],
        vec!["inspect", "apdb"],
        vec!["hold", "apdb", "--why", "x"],
        vec!["unhold", "apdb"],
        vec!["remove", "apdb", "--why", "x", "--yes"],
        vec!["restore", "apdb", "--to", &to],
        vec!["restore", "apdb", "--output", &file],
    ] {
        workshop.longshore(&verb).expect(1).says("did you mean \"appdb\"?");
    }
    for verb in ["run", "check", "drill", "prune", "sync", "status"] {
        workshop.longshore(&[verb, "nightyl"]).expect(1).says("did you mean \"nightly\"?");
    }
    for verb in [vec!["list"], vec!["verify"], vec!["prune"], vec!["hold", "appdb", "--why", "x"]] {
        let arguments = [&verb[..], &["--destination", "locl"]].concat();
        workshop.longshore(&arguments).expect(1).says("did you mean \"local\"?");
    }
    workshop.longshore(&["list", "--job", "nightyl"]).expect(1).says("did you mean \"nightly\"?");
    workshop.longshore(&["list", "nosuch"]).expect(1).keeps_quiet_about("did you mean");
}

#[test]
fn a_missing_identity_is_named_where_it_lies() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    let identity = workshop.identity().display().to_string();
    let file = workshop.path("out").display().to_string();
    for verb in [vec!["restore", "postgres", "--output", &file], vec!["drill"], vec!["restore", "postgres", "--list"]] {
        workshop.longshore(&verb).expect(1).says(&format!("--identity {identity}"));
    }
    let config = std::fs::read_to_string(workshop.config_path()).unwrap();
    let write =
        |table: &str| std::fs::write(workshop.config_path(), format!("{config}\n[identity]\n{table}\n")).unwrap();
    for table in [format!("file = '{identity}'"), format!("command = ['cat', '{identity}']")] {
        write(&table);
        workshop.longshore(&["restore", "postgres", "--list"]).expect(0);
        workshop.longshore(&["verify"]).expect(0).says("verified: ");
        workshop.longshore(&["inspect", "postgres"]).expect(0);
    }
    write("command = ['false']");
    workshop.longshore(&["restore", "postgres", "--list"]).expect(2).says("[identity] command");
    write("");
    workshop.longshore(&["list"]).expect(1).says("name a file or a command");
}
