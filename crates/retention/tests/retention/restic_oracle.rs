//! Comparison with restic's `forget`: rules with the same meaning keep the same backups, and the
//! other rules differ as documented.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use longshore_retention::{
    Action, CalendarSpan, CalendarUnit, Candidate, Count, History, Plan, Policy, Reason, SeriesMode,
};
use longshore_testkit::restic::Repository;

use crate::rng::Rng;
use crate::scenario::{Scenario, name, parse_span};

/// The times of the backups of each host. restic has only good ones.
type Hosts = Vec<Vec<DateTime<Utc>>>;

/// The kept backups of each host, with reasons.
type Kept = BTreeMap<(usize, DateTime<Utc>), BTreeSet<String>>;

/// The periods that restic supports.
const UNITS: [CalendarUnit; 5] =
    [CalendarUnit::Hour, CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year];

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// Creates a repository with a snapshot for each backup.
fn repository(hosts: &Hosts) -> Repository {
    let mut repository = Repository::make();
    for (host, times) in hosts.iter().enumerate() {
        times.iter().for_each(|time| repository.add(&host.to_string(), *time));
    }
    repository
}

/// Returns the snapshots that restic keeps, with its reasons.
fn by_restic(repository: &Repository, policy: &Policy) -> Kept {
    let mut kept = Kept::new();
    for group in repository.forget(&options(policy)).as_array().unwrap() {
        for reason in group["reasons"].as_array().into_iter().flatten() {
            let matches =
                reason["matches"].as_array().unwrap().iter().map(|matched| matched.as_str().unwrap().to_owned());
            let matches = matches.map(|matched| match matched.split_once("within ") {
                Some((unit, _)) => format!("{unit}within"),
                None => matched,
            });
            let time = at(reason["snapshot"]["time"].as_str().unwrap());
            kept.insert((group["host"].as_str().unwrap().parse().unwrap(), time), matches.collect());
        }
    }
    kept
}

/// Returns the policy as options of restic.
fn options(policy: &Policy) -> Vec<String> {
    let mut options = Vec::new();
    let mut count = |rule: &str, count: Count| match count {
        Count::NONE => {}
        Count::AtMost(count) => options.push(format!("--keep-{rule}={count}")),
        // The option for all snapshots differs between versions of restic.
        Count::All => options.push(format!("--keep-{rule}=1000000")),
    };
    count("last", policy.keep_last);
    UNITS.iter().for_each(|unit| count(unit.adverb(), policy.newest_of(*unit)));
    let mut span = |rule: &str, span: Option<CalendarSpan>| {
        options.extend(span.map(|span| format!("--keep-{rule}={}", span.to_string().replace("mo", "m"))));
    };
    span("within", policy.keep_within);
    UNITS.iter().for_each(|unit| span(&format!("within-{}", unit.adverb()), policy.within(*unit)));
    options
}

/// Returns the backups that Longshore keeps, with reasons in restic's terms.
fn by_longshore(hosts: &Hosts, policy: &Policy, now: DateTime<Utc>) -> Kept {
    let backup = |host: usize, place: usize, time: DateTime<Utc>| Candidate {
        name: name(&format!("host-{host}"), place as i64),
        time,
        bytes: 1,
        good: true,
        verified: false,
        drilled: false,
        held: None,
        locked_until: None,
        restoring_until: None,
        begins_window: false,
        continues_others: false,
        needs: Vec::new(),
    };
    let history = |(host, times): (usize, &Vec<DateTime<Utc>>)| History {
        backups: times.iter().enumerate().map(|(place, time)| backup(host, place, *time)).collect(),
        series_mode: SeriesMode::Policy,
    };
    let histories = hosts.iter().enumerate().map(history).collect();
    let scenario = Scenario { policy: policy.clone(), histories, now, needed: BTreeMap::new(), trust_clock: true };
    let plan: Plan = scenario.plan().unwrap();
    let mut kept = Kept::new();
    for (host, decisions) in plan.decisions.iter().enumerate() {
        for decision in decisions {
            let Action::Keep(reasons) = &decision.action else { continue };
            let restic_reason = |reason: &Reason| match reason {
                Reason::Last => Some("last snapshot".to_owned()),
                Reason::Within => Some("within".to_owned()),
                Reason::NewestOf(unit) => Some(format!("{} snapshot", unit.adverb())),
                Reason::NewestWithin(unit) => Some(format!("{} within", unit.adverb())),
                _ => None,
            };
            kept.insert((host, decision.time), reasons.iter().filter_map(restic_reason).collect());
        }
    }
    kept
}

fn random_policy(rng: &mut Rng) -> Policy {
    const SPANS: [&str; 12] = ["1h", "5h", "24h", "48h", "1d", "2d", "7d", "30d", "1mo", "18mo", "1y2mo3d4h", "5y"];
    let mut policy = Policy::default();
    let mut count = |percent| match (rng.happens(percent), rng.happens(8)) {
        (false, _) => Count::NONE,
        (true, true) => Count::All,
        (true, false) => Count::AtMost(rng.between(1, 15) as u32),
    };
    policy.keep_last = count(30);
    policy.keep_hourly = count(30);
    policy.keep_daily = count(50);
    policy.keep_weekly = count(40);
    policy.keep_monthly = count(40);
    policy.keep_yearly = count(30);
    let mut span = |percent| rng.happens(percent).then(|| parse_span(rng.choose::<&str>(&SPANS)));
    policy.keep_within = span(25);
    policy.keep_within_hourly = span(15);
    policy.keep_within_daily = span(15);
    policy.keep_within_weekly = span(15);
    policy.keep_within_monthly = span(15);
    policy.keep_within_yearly = span(15);
    if policy.check("").is_err() {
        policy.keep_daily = Count::AtMost(7);
    }
    policy
}

/// Returns the times of a host that is not always on: distinct, the newest on a day that exists in
/// every month.
fn random_times(rng: &mut Rng) -> Vec<DateTime<Utc>> {
    const STEPS: [i64; 7] = [60, 1800, 3600, 6 * 3600, 86_400, 7 * 86_400, 31 * 86_400];
    let step = *rng.choose(&STEPS);
    let mut time = at("2014-01-01T00:00:00Z") + TimeDelta::seconds(rng.between(0, 8 * 366 * 86_400));
    while time.day() > 28 {
        time -= TimeDelta::days(1);
    }
    let mut times = Vec::new();
    for _ in 0..rng.between(1, 60) {
        times.push(time);
        time -= TimeDelta::milliseconds(match rng.below(10) {
            0 => rng.between(1, 400 * 86_400_000),
            1..=4 => rng.between(1, 1000 * step),
            _ => 1000 * step,
        });
    }
    times
}

/// Compares the decisions of random policies about random backups.
fn restic_keeps_the_same(policies: usize) {
    const HOSTS: usize = 60;
    let mut rng = Rng::new(1);
    let hosts: Hosts = (0..HOSTS).map(|_| random_times(&mut rng)).collect();
    let repository = repository(&hosts);
    let policies: Vec<Policy> = (0..policies).map(|_| random_policy(&mut rng)).collect();
    for policy in policies {
        let mut theirs = by_restic(&repository, &policy);
        // Newer versions of restic also keep the oldest snapshot while a count is not used up.
        theirs.values_mut().for_each(|matches| matches.retain(|matched| !matched.starts_with("oldest ")));
        theirs.retain(|_, matches| !matches.is_empty());
        let ours = by_longshore(&hosts, &policy, at("2024-01-01T00:00:00Z"));
        for (host, time) in ours.keys().chain(theirs.keys()) {
            let key = (*host, *time);
            assert_eq!(
                ours.get(&key),
                theirs.get(&key),
                "host {host}, {time}; {:?}; {:?}",
                options(&policy),
                hosts[*host]
            );
        }
    }
}

#[test]
fn restic_keeps_the_same_for_the_same_reasons() {
    restic_keeps_the_same(30);
}

mod slow {
    #[test]
    fn restic_keeps_the_same_by_many_policies() {
        super::restic_keeps_the_same(120);
    }
}

/// Returns the backups that each tool keeps of one host.
fn kept_by_both(times: &[&str], policy: &Policy) -> (Vec<String>, Vec<String>) {
    let hosts: Hosts = vec![times.iter().map(|time| at(time)).collect()];
    let matched = |kept: Kept| kept.keys().map(|(_, time)| time.format("%Y-%m-%d").to_string()).collect();
    (matched(by_longshore(&hosts, policy, Utc::now())), matched(by_restic(&repository(&hosts), policy)))
}

#[test]
fn restic_month_before_31_march_is_3_march() {
    let policy = Policy { keep_within: Some(parse_span("1mo")), ..Policy::default() };
    let times = ["2021-02-28T04:00:00Z", "2021-03-01T04:00:00Z", "2021-03-03T04:00:00Z", "2021-03-31T03:00:00Z"];
    let (ours, theirs) = kept_by_both(&times, &policy);
    assert_eq!(ours, ["2021-02-28", "2021-03-01", "2021-03-03", "2021-03-31"]);
    assert_eq!(theirs, ["2021-03-03", "2021-03-31"]);
}

#[test]
fn restic_counts_future_snapshots() {
    let policy = Policy { keep_last: Count::AtMost(1), ..Policy::default() };
    let (ours, theirs) =
        kept_by_both(&["2021-03-01T04:00:00Z", "2021-03-02T04:00:00Z", "2999-01-01T00:00:00Z"], &policy);
    assert_eq!(ours, ["2021-03-02", "2999-01-01"]);
    assert_eq!(theirs, ["2999-01-01"], "the good backup of 2 March is lost");
}

#[test]
fn spans_ignore_future_backups_in_both_tools() {
    let policy = Policy { keep_within: Some(parse_span("1d")), ..Policy::default() };
    let (ours, theirs) =
        kept_by_both(&["2021-03-01T04:00:00Z", "2021-03-02T03:00:00Z", "2999-01-01T00:00:00Z"], &policy);
    assert_eq!(ours, ["2021-03-01", "2021-03-02", "2999-01-01"]);
    assert_eq!(theirs, ours);
}
