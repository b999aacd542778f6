//! The damages of all archives, two at a time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use longshore_testkit::cluster::Installation;
use sha2::{Digest, Sha256};

use crate::damage::edit::Damage;
use crate::damage::kinds;
use crate::damage::specimen::Specimen;
use crate::support;
use crate::support::pg_restore::{Exit, PgRestore, Restored};
use crate::support::scope::Scope;
use crate::support::table::{Restore, Row, print_and_check};

/// The number of threads, each of which waits for a pg_restore most of the time.
const WORKERS: usize = 2;

/// Applies the damages of a scope to an installation's archives with these compressions, prints the
/// table, and checks the table.
pub(crate) fn run(installation: &Installation, compressions: &[&str], scope: Scope) {
    let pg_restore = PgRestore::of(installation);
    let archives = support::archives_with(installation, compressions);
    let specimens: Vec<_> = archives.into_iter().map(Specimen::new).collect();
    let damages = specimens.iter().map(kinds::all).collect();
    let damages = scope.select(damages, |damage| (damage.what, damage.place));
    let mut rows = Vec::new();
    for (specimen, damages) in specimens.into_iter().zip(damages) {
        let folder = tempfile::tempdir().unwrap();
        rows.extend(Matrix::new(&pg_restore, specimen, folder.path()).rows(&damages));
    }
    assert!(!rows.is_empty(), "{} makes no archives in {compressions:?}", installation.version);
    print_and_check(&rows);
}

/// An archive and the reference results.
struct Matrix<'a> {
    pg_restore: &'a PgRestore,
    specimen: Specimen,
    restored: Restored,
    digest: Vec<u8>,
    folder: &'a Path,
}

impl<'a> Matrix<'a> {
    fn new(pg_restore: &'a PgRestore, specimen: Specimen, folder: &'a Path) -> Self {
        let name = &specimen.archive.name;
        support::read(specimen.bytes()).unwrap_or_else(|error| panic!("{name} is intact: {error}"));
        let file = folder.join("intact");
        fs::write(&file, specimen.bytes()).unwrap();
        let restored = pg_restore.decode(&file);
        assert_eq!(restored.exit, Exit::Success, "{name}");
        let digest = Sha256::digest(specimen.bytes()).to_vec();
        Self { pg_restore, specimen, restored, digest, folder }
    }

    fn rows(&self, damages: &[Damage]) -> Vec<Row> {
        let next = AtomicUsize::new(0);
        let work = |worker: usize| {
            let file = self.folder.join(worker.to_string());
            let mut rows = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(damage) = damages.get(number) else { return rows };
                rows.push((number, self.row(damage, &file)));
            }
        };
        let mut rows = thread::scope(|scope| {
            let work = &work;
            let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        rows.sort_by_key(|(number, _)| *number);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn row(&self, damage: &Damage, file: &Path) -> Row {
        let bytes = damage.apply(self.specimen.bytes());
        let Damage { what, place, expected, .. } = *damage;
        let archive = self.specimen.archive.name.clone();
        let read = catch_unwind(AssertUnwindSafe(|| support::read(&bytes)));
        let read = read.unwrap_or_else(|_| panic!("{what} ({place}) of {archive}: the reader panicked"));
        fs::write(file, &bytes).unwrap();
        let toc_end = self.specimen.layout.toc_end;
        Row {
            what,
            place,
            expected,
            archive,
            is_after_toc: bytes.get(..toc_end) == self.specimen.bytes().get(..toc_end),
            list: self.pg_restore.list(file),
            restore: Restore::of(&self.pg_restore.decode(file), &self.restored),
            found: read.err().map(|error| error.to_string()),
            digest_differs: Sha256::digest(&bytes)[..] != self.digest[..],
        }
    }
}
