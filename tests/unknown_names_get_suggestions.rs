//! An unknown name is an error that suggests the nearest name, in every command that accepts names.

use crate::support::TestEnv;

#[test]
fn every_verb_suggests_the_nearest_name() {
    let test_env = TestEnv::new();
    // In an empty destination, every name is accepted.
    test_env.longshore(&["list", "apdb"]).expect(0).shows("no backups");
    test_env.cluster.create_database("appdb");
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["list", "appdb"]).expect(0).shows("main/appdb");
    let to = test_env.cluster.connection();
    let file = test_env.path("out").display().to_string();
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
        test_env.longshore(&verb).expect(1).shows("did you mean \"appdb\"?");
    }
    for verb in ["run", "check", "drill", "prune", "sync", "status"] {
        test_env.longshore(&[verb, "nightyl"]).expect(1).shows("did you mean \"nightly\"?");
    }
    for verb in [vec!["list"], vec!["verify"], vec!["prune"], vec!["hold", "appdb", "--why", "x"]] {
        let arguments = [&verb[..], &["--destination", "locl"]].concat();
        test_env.longshore(&arguments).expect(1).shows("did you mean \"local\"?");
    }
    test_env.longshore(&["list", "--job", "nightyl"]).expect(1).shows("did you mean \"nightly\"?");
    test_env.longshore(&["list", "nosuch"]).expect(1).omits("did you mean");
}

#[test]
fn missing_identity_is_named_by_path() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    let identity = test_env.identity().display().to_string();
    let file = test_env.path("out").display().to_string();
    for verb in [vec!["restore", "postgres", "--output", &file], vec!["drill"], vec!["restore", "postgres", "--list"]] {
        test_env.longshore(&verb).expect(1).shows(&format!("--identity {identity}"));
    }
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    let write =
        |table: &str| std::fs::write(test_env.config_path(), format!("{config}\n[identity]\n{table}\n")).unwrap();
    for table in [format!("file = '{identity}'"), format!("command = ['cat', '{identity}']")] {
        write(&table);
        test_env.longshore(&["restore", "postgres", "--list"]).expect(0);
        test_env.longshore(&["verify"]).expect(0).shows("verified: ");
        test_env.longshore(&["inspect", "postgres"]).expect(0);
    }
    write("command = ['false']");
    test_env.longshore(&["restore", "postgres", "--list"]).expect(2).shows("[identity] command");
    write("");
    test_env.longshore(&["list"]).expect(1).shows("name a file or a command");
}
