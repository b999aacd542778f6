//! Base backups that pg_basebackup took of real servers.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

use std::process::Command;
use std::sync::{Arc, Mutex};

use longshore_core::base::WalLocation;
use longshore_core::compress::Compression;
use longshore_core::event::{Event, Observer, ignore};
use longshore_core::format::Format;
use longshore_core::plugin::{Cluster as Connection, CompressBy, JobContext, Plugin};
use longshore_core::stage::{Verify, VerifyReport};
use longshore_core::stream::{collect, from_bytes};
use longshore_core::subject::Subject;
use longshore_core::{Kind, Result, Stage};
use longshore_testkit::cluster::{Cluster, Installation};
use longshore_verify_pg_base::{DETAILS, PgBase};

/// The size limit of a backup in these tests.
const MOST_BYTES: usize = 1 << 30;

fn verifier() -> Box<dyn Verify> {
    let site = JobContext {
        cluster: Connection {
            name: "main".to_owned(),
            connection: String::new().into(),
            password: None,
            bin_dir: None,
        },
        compress_by: CompressBy::Pipeline(Compression::None),
        scratch_dir: None,
    };
    PgBase {}.build(&site).unwrap()
}

/// Takes a backup with pg_basebackup, as one tar.
fn back_up(cluster: &Cluster) -> Vec<u8> {
    let mut command = Command::new(cluster.bin_dir().join("pg_basebackup"));
    command.args([
        "-Ft",
        "-D",
        "-",
        "-X",
        "fetch",
        "--checkpoint=fast",
        "--label=by hand",
        "-d",
        &cluster.connection(),
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

async fn verify(tar: &[u8], observer: &Arc<dyn Observer>) -> Result<VerifyReport> {
    let verified = verifier().verify(&Subject::Base, Format::Base, from_bytes(tar.to_vec()), observer);
    let passed = collect(verified.stream, MOST_BYTES, Stage::Verify, "").await?;
    assert!(passed == tar, "the bytes pass unchanged");
    Ok(verified.report.get().unwrap().clone())
}

/// The names of the parts that were reached.
#[derive(Default)]
struct Parts(Mutex<Vec<String>>);

impl Observer for Parts {
    fn event(&self, event: &Event<'_>) {
        if let Event::PartReached(part) = event {
            self.0.lock().unwrap().push(part.name.to_owned());
        }
    }
}

#[tokio::test]
async fn sound_backup_passes_unchanged_with_its_facts() {
    for major in [15, 16, 17, 18] {
        let cluster = Cluster::start(&Installation::of_major(major), &["max_connections=77"]);
        let tar = back_up(&cluster);
        let parts = Arc::new(Parts::default());
        let report = verify(&tar, &(Arc::clone(&parts) as Arc<dyn Observer>)).await.unwrap();

        let base = report.base.clone().unwrap();
        assert_eq!((base.timeline, base.wal, base.wal_segment_bytes), (1, WalLocation::Included, 16 << 20));
        assert!(base.start_lsn < base.stop_lsn && base.page_checksums && !base.from_standby);
        assert_eq!((base.damaged_pages, base.settings["max_connections"]), (0, 77));
        let totals = &report.verification.totals;
        assert_eq!((totals["files"], totals["archive_bytes"]), (base.files, tar.len() as u64));
        assert!(totals["pages"] > 1000 && totals["wal_segments"] >= 1, "{totals:?}");

        let details = &report.details[DETAILS];
        let identifier = cluster.psql("postgres", "select system_identifier from pg_control_system()");
        assert_eq!((&details["label"], &details["system_identifier"]), (&"by hand".into(), &identifier.into()));
        assert_eq!((&details["version"], &details["control"]["wal_level"]), (&major.into(), &"replica".into()));
        let parts = parts.0.lock().unwrap();
        assert!(parts.iter().any(|part| part == "base/1") && parts.len() < 100, "{parts:?}");
    }
}

#[tokio::test]
async fn flipped_byte_is_corrupt() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let mut tar = back_up(&cluster);
    // WAL after the end of the backup has no meaning, so the places are before all WAL.
    let first_segment = b"pg_wal/00000001";
    let wal = tar.windows(first_segment.len()).position(|name| name == first_segment).unwrap();
    for place in [1, 2, 3, 4] {
        let place = wal / 5 * place;
        tar[place] ^= 1;
        let error = verify(&tar, &ignore()).await.unwrap_err();
        assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Verify, Kind::Corrupt, "base"), "{place}");
        tar[place] ^= 1;
    }
    // The end marker.
    tar.truncate(tar.len() - 1024);
    assert_eq!(verify(&tar, &ignore()).await.unwrap_err().kind(), Kind::Corrupt);
}
