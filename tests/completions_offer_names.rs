//! Completions of shells: the names of the configuration and of this host's backups.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::offline_env::{NIGHTLY, OfflineEnv};
use crate::support::{CommandOutput, Job, TestEnv, finish};

/// Lets bash complete the words after `$1`, as its line editor calls the function, and prints the
/// candidates.
const BASH: &str = r#"
source <(longshore completions bash)
complete -p longshore >&2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_longshore longshore "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"#;

/// Lets zsh complete a line with the tabulator, in a terminal of its own.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT= RPROMPT=; unsetopt zle_bracketed_paste; fpath=($FOLDER \$fpath); autoload -Uz compinit; compinit -u -D; echo READY"
zpty -r -m shell out '*READY*READY*'
zpty -w -n shell "$1"$'\t'
zpty -r -m shell out "*$2*" && print -r -- "$out"
zpty -d shell
"#;

/// Returns a program with `longshore` in its search path and the configuration in its environment.
fn shell(program: &str, config: &Path) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_longshore"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command.env("PATH", path).env("LONGSHORE_CONFIG", config).env("TERM", "dumb").stdin(Stdio::null());
    command
}

/// Returns the candidates of bash for the last of these words.
fn in_bash(config: &Path, words: &[&str]) -> Vec<String> {
    let output = finish(shell("bash", config).args(["--norc", "-c", BASH, "bash", "longshore"]).args(words)).expect(0);
    assert_eq!(output.stderr, "complete -o bashdefault -o default -o nosort -F _longshore longshore\n", "{words:?}");
    output.stdout.lines().map(str::to_owned).collect()
}

/// Returns the answer of the binary for these words.
fn answer(config: &str, words: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.args(["__complete", "bash", "--", "longshore", "--config", config]).args(words);
    finish(command.env("HOME", "/nonexistent").stdin(Stdio::null()))
}

/// Tables of every kind; no server and no host of them exists.
fn tables() -> String {
    format!(
        "{NIGHTLY}[job.weekly]\ncluster = 'main'\ndump = [{{ type = 'pg_dump' }}]\nencrypt = {{ type = 'none' }}\n\
         ship = ['away']\n[destination.away]\ntype = 'ssh'\nhost = '192.0.2.1'\npath = '/srv'\n\
         [retention.standard]\nkeep_last = 3\n\
         [notify.operators]\ntype = 'webhook'\nurl = 'http://192.0.2.1/'\n\
         [adopt.old]\ndestination = 'nas'\npattern = '{{subject}}_%Y%m%d.dump'\nretention = 'standard'\n"
    )
}

#[test]
fn bash_completes_names_of_the_configuration() {
    let offline_env = OfflineEnv::new(&tables());
    let config = offline_env.path("config.toml");
    for (words, expected) in [
        (&["run", ""][..], &["nightly", "weekly"][..]),
        (&["run", "ni"], &["nightly"]),
        (&["check", "w"], &["weekly"]),
        (&["schedule", "start", "n"], &["nightly"]),
        (&["list", "--destination", ""], &["away", "disk", "nas"]),
        (&["list", "--destination", "=", "d"], &["disk"]),
        (&["list", "--job", "="], &["nightly", "weekly"]),
        (&["drill", "--from", "'na"], &["nas"]),
        (&["prune", "o"], &["old"]),
        (&["notify", "test", ""], &["operators"]),
        (&["retention", "simulate", "--policy", ""], &["standard"]),
        (&["wal", "status", "--cluster", ""], &["main"]),
        (&["ver"], &["verify"]),
        (&["run", "--js"], &["--json"]),
        (&["run", "absent"], &[]),
    ] {
        assert_eq!(in_bash(&config, words), expected, "{words:?}");
    }
    let other = offline_env.path("other.toml");
    fs::write(&other, "[job.'a b']\n").unwrap();
    let words = ["--config", other.to_str().unwrap(), "run", ""];
    assert_eq!(in_bash(&config, &words), [r"a\ b"], "an incomplete configuration, named on the line");
}

#[test]
fn backups_complete_until_they_are_removed() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    let config = test_env.config_path();
    assert_eq!(in_bash(&config, &["list", "sh"]), Vec::<String>::new());
    test_env.longshore(&["run"]).expect(0);
    assert_eq!(in_bash(&config, &["list", "sh"]), ["shop"]);
    assert_eq!(in_bash(&config, &["hold", "main/sh"])[0], "main/shop");
    let first = in_bash(&config, &["remove", "main/shop/"]);
    assert_eq!(first.len(), 1);
    assert!(test_env.local().join(format!("{}.json", first[0])).exists(), "{first:?}");
    test_env.longshore(&["run"]).expect(0);
    let both = in_bash(&config, &["remove", "main/shop/"]);
    assert_eq!(both.len(), 2);
    assert_eq!(both[1], first[0], "the newest is the first");
    // Names come from the reports of this host alone.
    fs::rename(test_env.local(), test_env.path("elsewhere")).unwrap();
    assert_eq!(in_bash(&config, &["remove", "main/shop/"]), both);
    fs::rename(test_env.path("elsewhere"), test_env.local()).unwrap();
    test_env.configure(&Job { more: "retention = 'one'\n[retention.one]\nkeep_last = 1", ..Job::default() });
    test_env.longshore(&["prune"]).expect(0);
    assert_eq!(in_bash(&config, &["remove", "main/shop/"]), both[..1]);
}

#[test]
fn zsh_and_fish_complete_names() {
    let offline_env = OfflineEnv::new(&tables());
    let config = offline_env.path("config.toml");
    let script = "longshore completions fish | source; complete --do-complete $argv[1]";
    for (line, expected) in [("longshore run ", "nightly\nweekly\n"), ("longshore list --destination=d", "disk")] {
        finish(shell("fish", &config).args(["--no-config", "-c", script, line])).expect(0).stdout_shows(expected);
    }
    let folder = offline_env.path("completions");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("_longshore"), offline_env.longshore(&["completions", "zsh"]).expect(0).stdout).unwrap();
    for (line, expected) in [("longshore run ni", "run nightly "), ("longshore list --job=we", "--job=weekly ")] {
        let mut zsh = shell("zsh", &config);
        let zsh = zsh.env("FOLDER", &folder).args(["-f", "-c", ZSH, "zsh", line, expected]);
        finish(zsh).expect(0).stdout_shows(expected);
    }
}

#[test]
fn completions_never_print_an_error() {
    let offline_env = OfflineEnv::new("[job.");
    let config = offline_env.path("config.toml");
    let silent = |config: &str, words: &[&str]| {
        let output = answer(config, words).expect(0);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{config} {words:?}");
    };
    for config in [config.to_str().unwrap(), "/nonexistent", "/", "/proc/self/mem"] {
        silent(config, &["list", "shop"]);
        silent(config, &["run", "night"]);
        silent(config, &["absent", "x"]);
        silent(config, &["--unknown", "run", "x"]);
    }
    let bare = finish(Command::new(env!("CARGO_BIN_EXE_longshore")).arg("__complete")).expect(0);
    assert_eq!((bare.stdout, bare.stderr), (String::new(), String::new()));
    // Nothing writes to the pipe, and the answer does not wait for it.
    let pipe = offline_env.path("pipe");
    finish(Command::new("mkfifo").arg(&pipe)).expect(0);
    silent(pipe.to_str().unwrap(), &["run", "x"]);
}
