//! The cost of decoding every byte, compared with a dump without verification, and with
//! `pg_restore` on a file.

use std::path::Path;

use super::Bench;
use super::comparison::{Comparison, compare};
use super::database::{Database, shell};
use crate::Result;

/// The compression methods of pg_dump.
const COMPRESSIONS: [&str; 4] = ["none", "gzip", "lz4", "zstd"];

pub(super) fn comparisons(bench: &Bench) -> Result<Vec<Comparison>> {
    let database = Database::make(bench.scale)?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot create a folder: {error}"))?;
    let (dump, pg_restore) = (database.dump(), database.program("pg_restore"));
    let longshore = bench.longshore()?;
    let longshore = longshore.display();
    let plain = format!("{dump} --compress=none");
    let mut all = vec![compare(
        "during a dump",
        bench.rounds,
        database.bytes,
        &[
            ("pg_dump -Fc -Z0 > /dev/null", format!("{plain} > /dev/null")),
            ("pg_dump -Fc -Z0 | cat > /dev/null", format!("{plain} | cat > /dev/null")),
            (
                "pg_dump -Fc -Z0 | longshore inspect --check -",
                format!("{plain} | {longshore} --quiet inspect --check - > /dev/null"),
            ),
        ],
    )?];
    for compression in COMPRESSIONS {
        let file = folder.path().join(compression);
        let file = file.display();
        shell(&format!("{dump} --compress={compression} --file={file}"))?;
        all.push(compare(
            &format!("a stored archive, {compression}"),
            bench.rounds,
            database.bytes,
            &[
                ("pg_restore -f /dev/null", format!("{pg_restore} -f /dev/null {file}")),
                ("longshore inspect --check", format!("{longshore} --quiet inspect --check {file} > /dev/null")),
            ],
        )?);
        std::fs::remove_file(Path::new(&file.to_string())).map_err(|error| format!("cannot remove {file}: {error}"))?;
    }
    Ok(all)
}
