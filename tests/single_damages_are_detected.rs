//! Single damages of an encrypted destination, file by file: the verbs that find them, and none
//! that crashes.
//!
//! The damages come from a seed: each is reproducible by its number.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use longshore_testkit::stream::random_bytes;

use crate::support::TestEnv;

/// The files of a destination, by their path within it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The number of damages of one kind of file that a verb found, and of those that were made.
#[derive(Debug, Default, Clone, Copy)]
struct Detections {
    found: u32,
    of: u32,
}

impl Detections {
    fn count(&mut self, found: bool) {
        self.found += u32::from(found);
        self.of += 1;
    }
}

/// The verbs, as columns of the table.
const VERBS: [&str; 3] = ["verify", "verify --identity", "drill"];

/// The least percentage of damages of a kind of file that `verify` and `verify --identity` find.
const BOUNDS: [(&str, u32); 7] = [
    ("artifact", 100),
    ("globals", 100),
    ("details", 100),
    ("manifest", 80),
    ("mark", 0),
    ("mark details", 0),
    ("run report", 0),
];

/// A destination with sealed backups, their marks and run reports.
struct Destination {
    test_env: TestEnv,
    pristine: Files,
}

/// All files below a folder, but for locks.
fn read(folder: &Path) -> Files {
    fn walk(folder: &Path, root: &Path, files: &mut Files) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, files);
            } else if path.extension().is_none_or(|extension| extension != "lock") {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut files = Files::new();
    walk(folder, folder, &mut files);
    files
}

/// Returns the kind of a file, by its name.
fn kind(path: &Path) -> &'static str {
    let name = path.to_str().unwrap();
    let is_mark = ["hold", "verified", "drilled"].iter().any(|kind| name.contains(&format!(".{kind}.")));
    match (name.contains("/runs/"), is_mark, name.contains(".details.json")) {
        _ if name == "RESTORE.md" => "page",
        (true, _, _) => "run report",
        (_, true, true) => "mark details",
        (_, true, false) => "mark",
        (_, _, true) => "details",
        _ if name.ends_with(".json") => "manifest",
        _ if name.contains("/globals/") => "globals",
        _ => "artifact",
    }
}

/// Numbers that are the same for the same seed.
struct Random(std::vec::IntoIter<u8>);

impl Random {
    fn of(seed: u64) -> Self {
        Self(random_bytes(seed, 64).to_vec().into_iter())
    }

    fn below(&mut self, limit: usize) -> usize {
        let word = (0..4).fold(0, |word, _| word << 8 | usize::from(self.0.next().unwrap()));
        word % limit.max(1)
    }
}

impl Destination {
    fn new() -> Self {
        let test_env = TestEnv::new();
        test_env.cluster.create_database("shop");
        test_env.cluster.psql(
            "shop",
            "create table orders (id serial primary key, total int, note text); \
             insert into orders (total, note) select n, repeat(md5(n::text), 9) from generate_series(1, 2000) n;",
        );
        test_env.longshore(&["run"]).expect(0);
        test_env.longshore(&["hold", "shop", "--why", "audit"]).expect(0);
        test_env.run_with_identity(&["drill"]).expect(0);
        test_env.run_with_identity(&["verify", "--all"]).expect(0);
        let pristine = read(&test_env.local());
        let destination = Self { test_env, pristine };
        for (kind, _) in BOUNDS {
            assert!(destination.pristine.keys().any(|path| self::kind(path) == kind), "no {kind}");
        }
        destination
    }

    /// Restores the undamaged files.
    fn restore(&self) {
        let now = read(&self.test_env.local());
        for path in now.keys().filter(|path| !self.pristine.contains_key(*path)) {
            fs::remove_file(self.test_env.local().join(path)).unwrap();
        }
        for (path, bytes) in self.pristine.iter().filter(|(path, bytes)| now.get(*path) != Some(*bytes)) {
            fs::write(self.test_env.local().join(path), bytes).unwrap();
        }
    }

    /// Damages a file once, and describes the damage.
    fn damage(&self, path: &Path, random: &mut Random) -> String {
        let (file, mut bytes) = (self.test_env.local().join(path), self.pristine[path].clone());
        let offset = random.below(bytes.len());
        let damage = match random.below(8) {
            0..=2 => {
                bytes[offset] ^= 1 << random.below(8);
                format!("flipped a bit of byte {offset}")
            }
            3 => {
                bytes.truncate(offset);
                format!("cut to {offset} bytes")
            }
            4 => {
                bytes.extend(random_bytes(offset as u64, 1 + random.below(64)));
                "appended bytes".to_owned()
            }
            5 => {
                // Each byte inverted, so that none keeps its value.
                let end = bytes.len().min(offset + 1 + random.below(64));
                bytes[offset..end].iter_mut().for_each(|byte| *byte = !*byte);
                format!("changed bytes {offset} to {end}")
            }
            6 => {
                let same_kind: Vec<_> = self.pristine.keys().filter(|other| kind(other) == kind(path)).collect();
                let other = same_kind[random.below(same_kind.len())];
                if self.pristine[other] == bytes {
                    bytes[offset] ^= 1;
                } else {
                    bytes.clone_from(&self.pristine[other]);
                }
                format!("has the content of {}", other.display())
            }
            _ => {
                fs::remove_file(&file).unwrap();
                return "deleted".to_owned();
            }
        };
        fs::write(file, bytes).unwrap();
        damage
    }

    /// Returns the exit code of a verb on the destination.
    fn code(&self, verb: &str) -> i32 {
        let result = match verb {
            "verify" => self.test_env.longshore(&["verify", "--all"]),
            "drill" => self.test_env.run_with_identity(&["drill"]),
            _ => self.test_env.run_with_identity(&["verify", "--all"]),
        };
        // A verb ends with a documented code for any damage.
        assert!(matches!(result.code, Some(0 | 1 | 2 | 3 | 4 | 6)), "{result:?}");
        result.code.unwrap()
    }
}

/// Damages the same number of files of each kind, one at a time, and counts the verbs that find the
/// damage. A drill takes seconds, so only one in `drilled` rounds has one.
#[allow(clippy::print_stdout, reason = "the table of what was found")]
fn matrix(damages: u64, drilled: Option<u64>) {
    let destination = Destination::new();
    let mut table: BTreeMap<&str, [Detections; 3]> = BTreeMap::new();
    let mut missed = Vec::new();
    for number in 0..damages {
        let (kind, _) = BOUNDS[number as usize % BOUNDS.len()];
        let paths: Vec<_> = destination.pristine.keys().filter(|path| self::kind(path) == kind).collect();
        let mut random = Random::of(number);
        let path = paths[random.below(paths.len())];
        for (verb, counted) in VERBS.iter().zip(table.entry(kind).or_default()) {
            let round = number / BOUNDS.len() as u64;
            if *verb == "drill" && drilled.is_none_or(|drilled| !round.is_multiple_of(drilled)) {
                continue;
            }
            // The same damage for each: a verb may note what it found.
            let mut random = Random::of(number + damages);
            let damage = destination.damage(path, &mut random);
            let found = destination.code(verb) != 0;
            counted.count(found);
            if !found {
                missed.push(format!("{verb}: {}: {damage}", path.display()));
            }
            destination.restore();
        }
    }
    let mut text = format!("{:<14}", "file");
    for verb in VERBS {
        write!(text, "{verb:>20}").unwrap();
    }
    for (kind, found) in &table {
        write!(text, "\n{kind:<14}").unwrap();
        for Detections { found, of } in found {
            write!(text, "{:>20}", format!("{found} of {of}")).unwrap();
        }
    }
    println!("{text}\nnot found:\n{}", missed.join("\n"));
    for (kind, least) in BOUNDS {
        for Detections { found, of } in &table[kind][..2] {
            assert!(found * 100 >= of * least, "{kind}: {found} of {of}\n{text}\n{missed:#?}");
        }
    }
    // Nothing is found where nothing is damaged.
    for verb in VERBS {
        assert_eq!(destination.code(verb), 0, "{verb}");
    }
}

#[test]
fn verify_detects_single_damages() {
    matrix(56, None);
}

mod slow {
    use super::matrix;

    #[test]
    fn verify_and_drill_detect_600_damages() {
        matrix(602, Some(12));
    }
}
