//! Tests the pages as a browser parses them, with names of hostile databases.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use html5ever::tendril::TendrilSink;
use longshore_config::Config;
use longshore_core::drill::{Comparison, ComparisonOutcome, Drill, Phase, Verdict};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::run_report::{Details, RunReport};
use longshore_core::subject::Subject;
use longshore_engine::drill::Report;
use longshore_engine::listing::{Condition, CopyState, Description, Held, ListedBackup};
use longshore_engine::overview::{ClusterWal, LastRun, Overview};
use longshore_engine::prune::{Kept, Pruned, Removed, SeriesPruned};
use longshore_engine::status::{
    AtDestination, BackupAge, Copies, DestinationStatus, DrillTime, Issue, IssueKind, Level, Proof, RestoreTime,
    SeriesStatus, Size, Status, WalStatus,
};
use longshore_engine::wal::inventory::{Gap, Timeline};
use longshore_engine::wal::status::{ArchivedWal, Archives, Problem, ProblemKind};
use longshore_page::live::{Origin, Progress, SubjectProgress, Task};
use longshore_page::login::{self, Reason};
use longshore_page::wal::{Receiver, ReceiverState};
use longshore_page::{Activity, Context, destinations, drills, live, overview, policies, runs, series, wal};
use longshore_retention::{Policy, RemoveReason};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// A name that breaks out of texts and attributes if it is not escaped.
const HOSTILE: &str = "\"'><script>alert(1)</script><b style=\"x\" onclick='y'>\u{202e}&amp;";

fn now() -> DateTime<Utc> {
    "2026-06-07T09:15:00Z".parse().unwrap()
}

fn backup_name(hours: i64) -> BackupName {
    BackupName::new("main", "shop", Timestamp::new(now() - TimeDelta::hours(hours))).unwrap()
}

fn backup_age(hours: i64) -> BackupAge {
    BackupAge { backup: backup_name(hours), time: now() - TimeDelta::hours(hours), age_seconds: hours * 3600 }
}

fn listed(hours: i64, condition: Condition) -> ListedBackup {
    let text = include_str!("../../model/testdata/manifest-1.json");
    let mut manifest: Manifest = serde_json::from_str(text).unwrap();
    manifest.subject = Subject::database(HOSTILE);
    manifest.time = Timestamp::new(now() - TimeDelta::hours(hours));
    manifest.artifact.plaintext.bytes = 1000 * 1000 * (200 - hours.unsigned_abs());
    let copy = CopyState { destination: HOSTILE.into(), condition, text: HOSTILE.into() };
    ListedBackup {
        name: backup_name(hours),
        age_seconds: hours * 3600,
        copies: vec![copy],
        damaged: condition == Condition::Damaged,
        held: Some(Held { why: HOSTILE.to_owned(), until: None, destinations: vec!["disk".to_owned()] }),
        verified_at: vec![HOSTILE.to_owned()],
        saved_bytes: None,
        drilled_at: vec![HOSTILE.to_owned()],
        signatures: std::collections::BTreeMap::from([(HOSTILE.to_owned(), HOSTILE.to_owned())]),
        description: Description::Backup(Arc::new(manifest)),
    }
}

fn issue() -> Issue {
    Issue {
        level: Level::Critical,
        kind: IssueKind::Stale,
        series: Some(HOSTILE.to_owned()),
        job: Some(HOSTILE.to_owned()),
        destination: Some(HOSTILE.to_owned()),
        verb: None,
        message: HOSTILE.to_owned(),
    }
}

/// Archived WAL with a gap.
fn cluster_wal() -> ClusterWal {
    let gap = Gap {
        first: "000000010000000000000005".to_owned(),
        last: "000000010000000000000006".to_owned(),
        segments: 2,
        last_stored: Some(now()),
    };
    let timeline = Timeline {
        timeline: 1,
        first: "000000010000000000000002".to_owned(),
        last: "000000010000000000000009".to_owned(),
        segments: 6,
        gaps: vec![gap],
        ambiguous: Vec::new(),
        has_history: true,
        bytes: 1 << 20,
        last_stored: Some(now()),
    };
    let archive = ArchivedWal {
        destination: HOSTILE.to_owned(),
        system_identifier: "7".to_owned(),
        timelines: vec![timeline],
        recoverable_from: Some(now() - TimeDelta::hours(5)),
        recoverable_until: Some(now()),
        lag_bytes: None,
    };
    let problem = Problem {
        kind: ProblemKind::Lost,
        destination: HOSTILE.to_owned(),
        message: "2 segments are missing".to_owned(),
    };
    ClusterWal { cluster: HOSTILE.to_owned(), archives: Archives { archives: vec![archive], problems: vec![problem] } }
}

fn receiver(state: ReceiverState, message: Option<&str>) -> Receiver {
    let message = message.map(str::to_owned);
    Receiver { cluster: HOSTILE.to_owned(), state, process: Some(7), since: now(), restarts: 3, message }
}

fn series_status() -> SeriesStatus {
    let at = AtDestination {
        destination: HOSTILE.to_owned(),
        backups: 2,
        damaged_backups: 0,
        held_backups: 0,
        bytes: 1 << 30,
        newest: Some(backup_age(5)),
        stale: Some(false),
        damaged: None,
        verified: Some(Proof { newest: backup_age(29), proved: now() - TimeDelta::hours(20) }),
        drilled: None,
    };
    let drill = DrillTime {
        backup: backup_name(29),
        destination: "disk".to_owned(),
        finished: now() - TimeDelta::hours(20),
        seconds: 100.0,
    };
    SeriesStatus {
        cluster: "main".to_owned(),
        subject: Subject::database(HOSTILE).segment(),
        job: "nightly".to_owned(),
        level: Level::Warning,
        max_age_seconds: Some(93_600),
        newest: Some(backup_age(5)),
        ended: None,
        next_run: Some(now() + TimeDelta::hours(18)),
        copies: Copies {
            wanted: 2,
            present: vec![HOSTILE.to_owned()],
            missing: vec!["nas".to_owned()],
            unseen: Vec::new(),
        },
        size: Some(Size {
            plaintext_bytes: 195_000_000,
            sealed_bytes: 1 << 20,
            median_plaintext_bytes: Some(100_000_000),
            median_sealed_bytes: None,
            shrunk: false,
        }),
        tables: None,
        restore: Some(RestoreTime { seconds: 100.0, median_seconds: None, drills: vec![drill] }),
        differences: None,
        worst_gap_seconds: Some(30 * 3600),
        bytes: 1 << 30,
        destinations: vec![at],
    }
}

fn overview() -> Overview {
    let destination = DestinationStatus {
        name: HOSTILE.to_owned(),
        series: 1,
        backups: 2,
        unreadable: 0,
        bytes: 1 << 30,
        free_bytes: Some(1 << 40),
        error: None,
    };
    let mut all = Overview::new(Status {
        time: now(),
        attention: vec![issue()],
        jobs: Vec::new(),
        not_captured: Vec::new(),
        series: vec![series_status()],
        destinations: vec![destination],
        wal: vec![WalStatus {
            cluster: HOSTILE.to_owned(),
            destination: HOSTILE.to_owned(),
            system_identifier: "7".to_owned(),
            timeline: 1,
            last_segment: "000000010000000000000009".to_owned(),
            last_stored: Some(now()),
            recoverable_from: Some(now() - TimeDelta::hours(5)),
            recoverable_until: Some(now()),
        }],
    });
    all.wal = vec![cluster_wal()];
    all.backups = vec![listed(29, Condition::Damaged), listed(5, Condition::Good)];
    let kept = Kept { name: backup_name(5), bytes: 10, time: now() - TimeDelta::hours(5), reasons: Vec::new() };
    let removed = Removed {
        name: backup_name(29),
        bytes: 10,
        time: now() - TimeDelta::hours(29),
        cause: RemoveReason::NoRule,
        why: None,
    };
    let pruned = SeriesPruned {
        cluster: "main".to_owned(),
        subject: Subject::database(HOSTILE).segment(),
        job: "nightly".to_owned(),
        adopted: false,
        policy: "keep_last = 1".to_owned(),
        timezone: Policy::default().timezone,
        keep: vec![kept],
        remove: vec![removed],
        failed: Vec::new(),
        refused: None,
        ahead: Vec::new(),
        ended: None,
    };
    all.retention = vec![Pruned {
        destination: HOSTILE.to_owned(),
        series: vec![pruned],
        not_adopted: Vec::new(),
        swept: Vec::new(),
        wal: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
        error: None,
        refused: false,
    }];
    let text = include_str!("../../model/testdata/run-report-1.json");
    let mut report: RunReport = serde_json::from_str(text).unwrap();
    report.host = HOSTILE.to_owned();
    let details = Details { error: Some(HOSTILE.to_owned()), ..Details::default() };
    all.runs = vec![LastRun { report, details, destination: Some(HOSTILE.to_owned()) }];
    all
}

fn drill() -> Drill {
    let comparison = Comparison {
        subject: HOSTILE.to_owned(),
        aspect: "rows".to_owned(),
        expected: Some(HOSTILE.to_owned()),
        found: None,
        outcome: ComparisonOutcome::Different,
    };
    Drill {
        longshore: "0.1.0".to_owned(),
        by: HOSTILE.to_owned(),
        why: HOSTILE.to_owned(),
        backup: backup_name(5),
        destination: HOSTILE.to_owned(),
        started: now(),
        finished: now(),
        verdict: Verdict::Damaged,
        scratch: HOSTILE.to_owned(),
        tools: Vec::new(),
        phases: vec![Phase { name: HOSTILE.to_owned(), seconds: 1.5, restores: true }],
        compared: 1,
        different: 1,
        comparisons: vec![comparison],
        answers: Vec::new(),
    }
}

fn task() -> Task {
    let subject = SubjectProgress {
        name: HOSTILE.to_owned(),
        state: "in progress".to_owned(),
        planned_bytes: 100,
        read_bytes: 40,
        part: HOSTILE.to_owned(),
    };
    let progress = Progress { subjects: vec![subject], messages: vec![HOSTILE.to_owned()] };
    Task {
        verb: "run".to_owned(),
        job: HOSTILE.to_owned(),
        since: now(),
        is_waiting: false,
        origin: Origin::Service,
        progress,
    }
}

/// A run that a timer started.
fn other_task() -> Task {
    Task { origin: Origin::Other, progress: Progress::default(), ..task() }
}

/// Returns every page, by name.
fn pages() -> Vec<(&'static str, String)> {
    let (overview, mut config) = (overview(), Config::default());
    config.policies.insert("standard".to_owned(), Policy::default());
    let (banners, tasks, issues) = ([HOSTILE.to_owned()], [task(), other_task()], [issue()]);
    let receivers = [
        receiver(ReceiverState::Running, None),
        receiver(ReceiverState::Waiting, Some(HOSTILE)),
        receiver(ReceiverState::Elsewhere, None),
    ];
    let context = Context {
        overview: Some(&overview),
        config: &config,
        now: now(),
        banners: &banners,
        tasks: &tasks,
        issues: &issues,
        receivers: &receivers,
        activity: Activity::Run,
        version: "0.1.0",
    };
    let id = overview.runs[0].report.id.to_string();
    vec![
        ("overview", overview::page(&context)),
        ("overview before the first read", overview::page(&Context { overview: None, ..context })),
        ("series", series::page(&context, "main", &Subject::database(HOSTILE).segment()).unwrap()),
        ("runs", runs::list(&context)),
        ("run", runs::page(&context, &id).unwrap()),
        ("drills", drills::list(&context)),
        ("drill", drills::page(&context, &drill())),
        ("wal", wal::page(&context)),
        ("wal before the first read", wal::page(&Context { overview: None, receivers: &[], ..context })),
        ("policies", policies::list(&context)),
        ("policy", policies::page(&context, "standard").unwrap()),
        ("destinations", destinations::list(&context)),
        ("destination", destinations::page(&context, HOSTILE).unwrap()),
        ("login", login::login(Reason::Wrong, "0.1.0")),
        ("message", login::message(HOSTILE, HOSTILE, "0.1.0")),
    ]
}

/// Returns all elements, each with its attributes.
fn elements(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    fn walk(handle: &Handle, found: &mut Vec<(String, Vec<(String, String)>)>) {
        if let NodeData::Element { name, attrs, .. } = &handle.data {
            let attributes =
                attrs.borrow().iter().map(|it| (it.name.local.to_string(), it.value.to_string())).collect();
            found.push((name.local.to_string(), attributes));
        }
        handle.children.borrow().iter().for_each(|child| walk(child, found));
    }
    let dom = html5ever::parse_document(RcDom::default(), html5ever::ParseOpts::default()).one(html);
    assert!(dom.errors.borrow().is_empty(), "{:?}\n{html}", dom.errors.borrow());
    let mut found = Vec::new();
    walk(&dom.document, &mut found);
    found
}

#[test]
fn pages_are_valid_html_with_one_heading_and_main_part() {
    for (page, html) in pages() {
        let all = elements(&html);
        for only in ["h1", "main", "header", "nav", "footer"] {
            assert_eq!(all.iter().filter(|(name, _)| name == only).count(), 1, "{only} in {page}");
        }
        let is_scoped = |(name, attributes): &(String, Vec<(String, String)>)| {
            name != "th" || attributes.iter().any(|(name, _)| name == "scope")
        };
        assert!(all.iter().all(is_scoped), "{page}");
    }
}

#[test]
fn hostile_names_add_no_element_and_no_script() {
    for (page, html) in pages() {
        let all = elements(&html);
        for (name, attributes) in &all {
            assert!(!["style", "b", "iframe", "object", "base"].contains(&name.as_str()), "{name} in {page}");
            let is_inline = |(name, _): &(String, String)| name == "style" || name.starts_with("on");
            assert!(!attributes.iter().any(is_inline), "{attributes:?} in {page}");
            let source = attributes.iter().find(|(name, _)| name == "src").map(|(_, source)| source.as_str());
            assert!(name != "script" || source == Some("/assets/live.js"), "{page}");
        }
        assert!(!html.contains('\u{202e}'), "{page}");
    }
    let fragment = live::fragment(&[task()]);
    assert!(!fragment.contains("<script") && fragment.contains("value=\"40\""), "{fragment}");
}

#[test]
fn run_of_another_program_is_running_now() {
    let config = Config::default();
    let tasks = [other_task()];
    let context = Context {
        overview: None,
        config: &config,
        now: now(),
        banners: &[],
        tasks: &tasks,
        issues: &[],
        receivers: &[],
        activity: Activity::View,
        version: "0.1.0",
    };
    let html = overview::page(&context);
    assert!(html.contains("Running now") && html.contains("Started outside this service"), "{html}");
    assert!(!overview::page(&Context { tasks: &[], ..context }).contains("Running now"));
}

#[test]
fn wal_has_windows_gaps_and_receivers() {
    let all: BTreeMap<_, _> = pages().into_iter().collect();
    for text in ["2026-06-07 04:15", "000000010000000000000005", "has gaps", "2 segments are missing", "ended, will be"]
    {
        assert!(all["wal"].contains(text), "{text} in {}", all["wal"]);
    }
    let home = &all["overview"];
    for text in
        ["<a href=\"/wal\" class=\"warning\">1</a>", "WAL receivers", "receiving", "received by another process"]
    {
        assert!(home.contains(text), "{text} in {home}");
    }
}

#[test]
fn report_of_a_drill_is_one_file_in_the_shared_layout() {
    let report = Report {
        job: HOSTILE.to_owned(),
        run: "2026-06-07_091500-0".to_owned(),
        destination: HOSTILE.to_owned(),
        scratch_seconds: 1.5,
        drills: vec![drill()],
        missing: None,
        passed_over: vec![HOSTILE.to_owned()],
        refused: Vec::new(),
        notes: vec![HOSTILE.to_owned()],
        warnings: Vec::new(),
        unfit: Vec::new(),
        unmarked: Vec::new(),
        left: None,
    };
    let html = drills::report(&report, "0.1.0");
    let all = elements(&html);
    let count = |wanted: &str| all.iter().filter(|(name, _)| name == wanted).count();
    assert_eq!((count("main"), count("h1"), count("style"), count("caption")), (1, 1, 1, 2));
    assert_eq!((count("script"), count("link"), count("nav"), count("b")), (0, 0, 0, 0));
    for text in
        ["damaged: 1 of 1 comparisons differ", "Restore drill of", longshore_page::STYLE.lines().next().unwrap()]
    {
        assert!(html.contains(text), "{text} in {html}");
    }
}

#[test]
fn overview_has_recovery_point_and_time_of_each_series() {
    let (_, html) = pages().remove(0);
    // The last drill took 100 s for a backup of 171 MB, and the newest has 195 MB.
    for text in ["1 of 2", ">114 s<", ">+95 %<", "in 18 h", ">5 h<", ">26 h<", ">30 h<"] {
        assert!(html.contains(text), "{text} in {html}");
    }
}

#[test]
fn series_has_a_calendar_and_reasons() {
    let (_, html) = pages().remove(2);
    for text in ["Calendar at", "no rule keeps it", "<svg", "1 kept, 1 to be removed"] {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert_eq!(html.matches("<title>2026").count(), 2, "{html}");
}

#[test]
fn colours_have_enough_contrast_in_light_and_dark() {
    let css = longshore_page::STYLE;
    let luminance = |colour: &str| {
        let part = |range: std::ops::Range<usize>| {
            let value = f64::from(u8::from_str_radix(&colour[range], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0..2) + 0.7152 * part(2..4) + 0.0722 * part(4..6)
    };
    for scheme in css.split("--text: #").skip(1) {
        let scheme = format!("--text: #{}", scheme.split('}').next().unwrap());
        let colour = |name: &str| luminance(scheme.split(&format!("--{name}: #")).nth(1).unwrap().get(..6).unwrap());
        for ground in ["ground", "panel"] {
            for text in ["text", "quiet", "link", "good", "warning", "critical", "unknown"] {
                let (one, other) = (colour(text) + 0.05, colour(ground) + 0.05);
                assert!(one.max(other) / one.min(other) >= 4.5, "{text} on {ground}");
            }
        }
    }
}
