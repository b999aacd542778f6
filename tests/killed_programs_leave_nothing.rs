//! A program or Longshore itself that is killed at any step leaves nothing that looks like a
//! backup, and nothing that runs. The next run succeeds.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::files;
use crate::support::programs::Programs;

/// The function that kills at the step in the file `step`: the program, or its parent.
const STEP: &str = r#"
step() {
    [ "$(cat "$SWEEP/step")" = "$LONGSHORE_ROLE $1" ] || return 0
    touch "$SWEEP/reached"
    case $(cat "$SWEEP/victim") in program) kill -9 $$ ;; longshore) kill -9 $PPID; sleep 0.1 ;; esac
}
"#;

/// A dump with the protocol, and an encryption without it. Both write much more than a pipe holds.
const DUMP: &str = r#"
read -r _ <&3
step hello
echo '{"type":"hello","protocol":"longshore-exec/1","name":"dump","version":"1","roles":["dump"]}' >&3
read -r start <&3
step start
printf x; step first
seq 300000; step middle
seq 300000; step end
echo '{"type":"done","bytes_out":3977791}' >&3
step done
"#;

const SEAL: &str = r#"
step start
head -c 10 | tr a-z0-9 b-za1-90; step first
head -c 1000000 | tr a-z0-9 b-za1-90; step middle
tr a-z0-9 b-za1-90; step end
"#;

/// The victims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Program,
    Longshore,
}

/// A job whose programs kill at a chosen step.
struct Sweep {
    programs: Programs,
}

impl Sweep {
    /// Creates a job that ships to a folder, or to a program with a folder of its own.
    fn new(dump: &str, ship: Option<&str>) -> Self {
        let programs = Programs::new();
        let sweep = Self { programs };
        let env = format!("env = {{ SWEEP = '{}' }}", sweep.path("").display());
        let dump = sweep.programs.script("dump", &format!("{STEP}{dump}"));
        let seal = sweep.programs.script("seal", &format!("{STEP}{SEAL}"));
        let more = "compression = { method = 'none' }\n";
        let mut destination = String::new();
        if let Some(ship) = ship {
            let store = sweep.programs.script("store", &format!("{STEP}{ship}"));
            fs::create_dir(sweep.path("objects")).unwrap();
            destination = format!(
                "[destination.program]\ntype = 'exec'\nprogram = ['{store}']\nprotocol = 'longshore-exec/1'\n\
                 hello_timeout = '60s'\nsettings = {{ path = '{}' }}\n{env}\n",
                sweep.path("objects").display()
            );
        }
        let hook = sweep.programs.script("hook", &format!("{STEP}LONGSHORE_ROLE=before\nstep start"));
        let hook = format!("[[job.wiki.hook]]\nwhen = 'before'\nprogram = ['{hook}']\n{env}\n");
        let more = format!("{more}{hook}{destination}");
        let protocol = "protocol = 'longshore-exec/1', hello_timeout = '60s'";
        sweep.programs.configure(&format!("program = ['{dump}'], {protocol}, {env}"), &more);
        let path = sweep.path("config.toml");
        let mut text = fs::read_to_string(&path).unwrap();
        if ship.is_some() {
            text = text.replace("ship = ['disk']", "ship = ['program']");
        } else {
            let encrypt = format!("{{ type = 'exec', extension = 'rot', undo = 'tr', program = ['{seal}'], {env} }}");
            text = text.replace("{ type = 'none' }", &encrypt);
        }
        fs::write(path, text).unwrap();
        sweep
    }

    fn path(&self, name: &str) -> PathBuf {
        self.programs.env.path(name)
    }

    /// Returns the visible and hidden files of backups.
    fn stored(&self) -> Vec<String> {
        let folders = ["disk", "objects"].map(|name| self.path(name));
        let all = folders.iter().filter(|folder| folder.exists()).flat_map(|folder| files(folder));
        all.filter(|file| file.starts_with("wiki/wiki/")).collect()
    }

    /// Returns the files under final names.
    fn visible(&self) -> Vec<String> {
        self.stored().into_iter().filter(|file| !file.contains("/.")).collect()
    }

    /// Returns true if a program of this job runs: its environment names the folder.
    fn is_running(&self) -> bool {
        let variable = format!("SWEEP={}\0", self.path("").display());
        fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let environ = fs::read(process.path().join("environ")).unwrap_or_default();
            environ.windows(variable.len()).any(|part| part == variable.as_bytes())
        })
    }

    fn choose(&self, step: &str, victim: Victim) {
        fs::write(self.path("step"), step).unwrap();
        fs::write(self.path("victim"), format!("{victim:?}").to_lowercase()).unwrap();
        if self.path("reached").exists() {
            fs::remove_file(self.path("reached")).unwrap();
        }
    }

    /// Runs the job while a victim is killed at a step, and then again.
    fn kill_at(&self, step: &str, victim: Victim) {
        let label = format!("{victim:?} killed at {step}");
        let before = self.visible();
        self.choose(step, victim);
        let killed = self.programs.run(&["run"]);
        assert!(self.path("reached").exists(), "{label}: the step was not reached: {killed:?}");
        assert_eq!(killed.code, if victim == Victim::Program { Some(2) } else { None }, "{label}: {killed:?}");
        let begun = Instant::now();
        while self.is_running() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{label}: a program still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
        let left: Vec<_> = self.visible().into_iter().filter(|file| !before.contains(file)).collect();
        // Longshore that ends after the commit of a file cannot withdraw it. An artifact without
        // its manifest is no backup, and `prune` removes it.
        let is_committed = victim == Victim::Longshore && step.ends_with("committed");
        let is_backup = left.iter().any(|file| file.ends_with(".json"));
        assert!(if is_committed { !is_backup } else { left.is_empty() }, "{label}: {left:?}");
        if victim == Victim::Program {
            assert_eq!(self.stored().len(), self.visible().len(), "{label}: {:?}", self.stored());
        }
        self.choose("", victim);
        self.programs.run(&["run"]).expect(0);
        assert!(self.visible().len() >= before.len() + 2, "{label}: the next run stored nothing");
    }

    fn expect_sound(&self) {
        self.programs.run(&["verify", "--all"]).expect(0).omits("damaged");
    }
}

#[test]
fn killed_program_leaves_nothing() {
    let sweep = Sweep::new(DUMP, None);
    for step in ["before start", "dump middle", "dump done", "encrypt middle"] {
        sweep.kill_at(step, Victim::Program);
    }
    sweep.expect_sound();
}

#[test]
fn killed_longshore_leaves_no_program() {
    let sweep = Sweep::new(DUMP, None);
    for step in ["dump middle", "encrypt end"] {
        sweep.kill_at(step, Victim::Longshore);
    }
    sweep.expect_sound();
}

mod slow {
    use super::*;

    /// Returns the skeleton in shell, with the steps of an upload.
    fn store() -> String {
        let text = include_str!("../crates/exec/src/skeleton/skeleton.sh").replace("NAME", "store");
        let steps = [
            ("send '{type: \"hello\"", "step hello\nsend '{type: \"hello\""),
            ("read -r start <&3\n", "read -r start <&3\nstep start\n"),
            (
                "        cat >\"$temp\"\n",
                "        head -c 1 >\"$temp\"; step first\n        head -c 1000000 >>\"$temp\"; step middle\n        \
                 cat >>\"$temp\"; step end\n",
            ),
            ("|| exit 1   ", "|| exit 1; step ordered   "),
            ("        rm \"$temp\"\n", "        step linked; rm \"$temp\"; step committed\n"),
        ];
        steps.into_iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "the skeleton lacks {from}");
            text.replacen(from, to, 1)
        })
    }

    #[test]
    fn upload_killed_at_any_step_leaves_nothing() {
        let sweep = Sweep::new(DUMP, Some(&store()));
        for step in ["hello", "start", "first", "middle", "end", "ordered", "linked", "committed"] {
            sweep.kill_at(&format!("ship {step}"), Victim::Program);
        }
        for step in ["stat hello", "stat start"] {
            sweep.kill_at(step, Victim::Program);
        }
        sweep.expect_sound();
    }

    #[test]
    fn longshore_killed_in_any_upload_leaves_no_backup() {
        let sweep = Sweep::new(DUMP, Some(&store()));
        for step in ["hello", "start", "first", "middle", "end", "committed"] {
            sweep.kill_at(&format!("ship {step}"), Victim::Longshore);
        }
        for step in ["stat hello", "stat start"] {
            sweep.kill_at(step, Victim::Longshore);
        }
        sweep.expect_sound();
    }

    /// The steps of a job whose programs dump and encrypt, and which has a hook.
    const STEPS: [&str; 11] = [
        "before start",
        "dump hello",
        "dump start",
        "dump first",
        "dump middle",
        "dump end",
        "dump done",
        "encrypt start",
        "encrypt first",
        "encrypt middle",
        "encrypt end",
    ];

    #[test]
    fn program_killed_at_any_step_leaves_nothing() {
        let sweep = Sweep::new(DUMP, None);
        STEPS.iter().for_each(|step| sweep.kill_at(step, Victim::Program));
        sweep.expect_sound();
    }

    #[test]
    fn longshore_killed_at_any_step_leaves_no_program() {
        let sweep = Sweep::new(DUMP, None);
        STEPS.iter().for_each(|step| sweep.kill_at(step, Victim::Longshore));
        sweep.expect_sound();
    }
}
