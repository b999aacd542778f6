//! The service receives WAL by child processes, and starts them again.

use std::ops::Deref;
use std::process::Command;

use longshore_testkit::cluster::Installation;
use serde_json::Value;

use crate::support::service::Service;
use crate::support::{ArchiveEnv, wait_for};

/// An environment whose service receives the WAL of its cluster.
fn archive(serve: &str) -> ArchiveEnv {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &["archive_mode=off"]);
    archive.configure(&format!("[cluster.main.wal.receive]\nslot = 'backup'\npartial_every = '1s'\n[serve]\n{serve}"));
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    archive
}

/// Returns the receiver once it is in a state.
fn receiver(service: &Service, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for("the state of the receiver", || {
        let all = service.json("/api/v1/receivers");
        all.as_array()?.first().filter(|receiver| is_wanted(receiver)).cloned()
    })
}

/// A service that is stopped on drop, with its receivers.
struct Stopping(Service);

impl Stopping {
    fn start(archive: &ArchiveEnv, arguments: &[&str]) -> Self {
        let mut command = archive.command(&archive.env.path(""));
        Self(Service::start_on(command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments)))
    }
}

impl Deref for Stopping {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn is_receiving(receiver: &Value) -> bool {
    receiver["state"] == "running" && receiver["message"].is_null()
}

fn metric(service: &Service, line: &str) -> bool {
    service.request("GET /metrics", &[], "").body.contains(line)
}

/// Waits until the server has a receiver of the slot, or none.
fn wait_for_slot(archive: &ArchiveEnv, is_active: &str) {
    let query =
        format!("select count(*) from pg_replication_slots where slot_name = 'backup' and active = {is_active}");
    wait_for("the slot", || (archive.env.cluster.psql("postgres", &query) == "1").then_some(()));
}

#[test]
fn killed_receiver_is_started_again_and_loses_nothing() {
    let archive = archive("wal_receive = true\nrefresh = '1s'\n");
    let service = Stopping::start(&archive, &[]);
    service.wait_until_ready();
    let first = receiver(&service, is_receiving);
    assert_eq!((&first["cluster"], &first["restarts"]), (&"main".into(), &0.into()));
    wait_for_slot(&archive, "true");
    archive.longshore(&["run"]).expect(0);
    let segment = archive.switch();
    let has_archived =
        |segment: &str| archive.archived("local").iter().any(|file| file.contains(&format!("/{segment}-")));
    wait_for("the first segment", || has_archived(&segment).then_some(()));
    let killed = Command::new("kill").args(["-s", "KILL", &first["process"].to_string()]).status().unwrap();
    assert!(killed.success());
    let second = receiver(&service, |receiver| receiver["restarts"] == 1 && is_receiving(receiver));
    assert_ne!(first["process"], second["process"]);
    archive.env.cluster.psql("postgres", "insert into ledger values (1)");
    let segment = archive.switch();
    wait_for("the second segment", || has_archived(&segment).then_some(()));
    assert!(service.log().contains("wal receive main: signal: 9"), "{}", service.log());
    assert!(metric(&service, "longshore_wal_receiver_up{cluster=\"main\"} 1.0"));
    assert!(metric(&service, "longshore_wal_receiver_restarts_total{cluster=\"main\"} 1.0"));
    let home = wait_for("the page", || Some(service.get("/").body).filter(|home| home.contains("Timelines and gaps")));
    assert!(home.contains("WAL receivers") && home.contains("receiving"), "{home}");
    // The archive is shown as `wal status` prints it.
    let last = |wal: &Value| wal["archives"][0]["timelines"][0]["last"].as_str().unwrap_or_default().to_owned();
    let printed: Value =
        serde_json::from_str(&archive.longshore(&["wal", "status", "--json"]).expect(0).stdout).unwrap();
    wait_for("the new segment", || (last(&service.json("/api/v1/wal/main")) >= last(&printed)).then_some(()));
    assert_eq!(service.json("/api/v1/wal")[0]["cluster"], "main");
    assert_eq!(service.request("GET /api/v1/wal/other", &[], "").status, 404);
    let page = service.get("/wal").body;
    assert!(page.contains("Moments to which each destination recovers") && !page.contains("Gaps</caption>"), "{page}");
    // A gap is shown.
    let lost = archive.archived("local").into_iter().find(|file| file.contains(&format!("/{segment}-"))).unwrap();
    archive.switch();
    wait_for("another segment", || (last(&service.json("/api/v1/wal/main")) > segment).then_some(()));
    std::fs::remove_file(archive.env.path("local").join(lost)).unwrap();
    wait_for("the gap", || service.get("/wal").body.contains("Gaps</caption>").then_some(()));
    assert_eq!(service.json("/api/v1/wal/main")["archives"][0]["timelines"][0]["gaps"][0]["first"], segment.as_str());
    // A stop ends the receiver.
    drop(service);
    wait_for_slot(&archive, "false");
}

#[test]
fn receiver_of_another_process_is_left_alone() {
    let archive = archive("wal_receive = ['main']\n");
    let mut other = archive.command(&archive.env.path("")).args(["wal", "receive", "--create-slot"]).spawn().unwrap();
    wait_for_slot(&archive, "true");
    let service = Stopping::start(&archive, &[]);
    let elsewhere = receiver(&service, |receiver| receiver["state"] == "elsewhere");
    assert!(elsewhere["message"].as_str().unwrap().contains("receiver of the WAL of main, process"), "{elsewhere}");
    assert!(elsewhere["process"].is_null() && service.get("/").body.contains("received by another process"));
    other.kill().unwrap();
    other.wait().unwrap();
    let own = receiver(&service, is_receiving)["process"].to_string();
    // The receiver of a killed service continues, and the next service does not start a second one.
    service.signal("KILL");
    let next = Stopping::start(&archive, &[]);
    let elsewhere = receiver(&next, |receiver| receiver["state"] == "elsewhere");
    assert!(elsewhere["message"].as_str().unwrap().contains(&format!("process {own} ")), "{elsewhere} {own}");
    assert!(Command::new("kill").arg(own).status().unwrap().success());
    receiver(&next, is_receiving);
    drop(next);
    wait_for_slot(&archive, "false");
    // A service that may start no jobs starts no receiver either.
    let viewing = Stopping::start(&archive, &["--no-schedule"]);
    assert_eq!(viewing.json("/api/v1/receivers"), serde_json::json!([]));
}

#[test]
fn unknown_clusters_are_refused() {
    let archive = archive("wal_receive = ['mian']\n");
    archive.longshore(&["config", "check"]).expect(1).shows("wal_receive: there is no cluster with an archive");
}

/// A receiver needs no archive_mode, and `check` requires none.
#[test]
fn check_accepts_a_receiver_without_archive_mode() {
    let archive = archive("wal_receive = ['main']\n");
    let check = || archive.longshore(&["check"]);
    check().expect(2).shows("archive_mode = off").shows("or start `longshore wal receive --create-slot`");
    let service = Stopping::start(&archive, &[]);
    receiver(&service, is_receiving);
    wait_for_slot(&archive, "true");
    check().omits("archive_mode");
    drop(service);
    wait_for_slot(&archive, "false");
    // Its slot shows that a receiver is meant to archive.
    let stopped = check().expect(2).omits("archive_mode");
    stopped.shows("no receiver uses the replication slot backup");
}
