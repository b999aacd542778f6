//! Two weeks around each change of the clock, at 3,600 times the speed of time, with the real
//! binary.
//!
//! libfaketime sets the clock of all processes from a file, which the test steps forward. Its own
//! speed (`x3600`) is not used: it starts anew in each process, and it changes the monotonic clock,
//! so that all time limits would pass 3,600 times as fast.

mod slow {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

    use crate::support::service::Service;
    use crate::support::{Job, TestEnv};

    /// The speed of the clock.
    const SPEED: i32 = 3600;
    /// The time between two steps of the clock.
    const STEP: Duration = Duration::from_millis(200);

    /// Daily in the hour that changes, and at two fixed times of each day.
    const SCHEDULE: &str = "timezone = 'Europe/Berlin'\nretention = 'standard'\n\
                            schedule = { run = '30 2 * * *', verify = '0 6,18 * * *' }\n\
                            [retention.standard]\nkeep_last = 3\n[serve]\nschedule = true";

    fn library() -> PathBuf {
        let folders = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
        let mut paths = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
        paths.find(|path| path.exists()).expect("faketime is missing: run `cargo xtask test`, which installs it")
    }

    fn utc(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc()
    }

    /// Sets the clock of the processes, at once.
    fn set_clock(file: &Path, time: DateTime<Utc>) {
        let new = file.with_extension("new");
        fs::write(&new, format!("{}\n", time.format("%Y-%m-%d %H:%M:%S"))).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// Returns the beginnings of all runs of a verb, by the names of their reports.
    fn begun(test_env: &TestEnv, verb: &str) -> Vec<DateTime<Utc>> {
        let names = fs::read_dir(test_env.path("state/runs")).unwrap().map(|entry| entry.unwrap().file_name());
        let begun = |name: String| {
            let (_, id) = name.strip_suffix(".json")?.split_once('.')?;
            if id.contains('.') {
                // The details of a report.
                return None;
            }
            let (time, _) = id.split_once(&format!("-{verb}-"))?;
            Some(NaiveDateTime::parse_from_str(time, "%Y-%m-%d_%H%M%S").unwrap().and_utc())
        };
        let mut all: Vec<_> = names.filter_map(|name| begun(name.into_string().unwrap())).collect();
        all.sort();
        all
    }

    /// Serves for two weeks, and compares the runs with these due times.
    fn serve_two_weeks(start: &str, run: &[DateTime<Utc>], verify: &[DateTime<Utc>]) {
        let test_env = TestEnv::new();
        let dump = "[{ type = 'pg_dumpall', what = 'globals' }]";
        test_env.configure(&Job { dump, encrypt: Some("{ type = 'none' }"), more: SCHEDULE, ..Job::default() });
        let (clock, start) = (test_env.path("clock"), utc(start));
        set_clock(&clock, start);
        let mut command = test_env.command();
        command.env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &clock).env("TZ", "UTC");
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        let service = Service::start(&mut command);
        let begin = Instant::now();
        loop {
            let passed = TimeDelta::from_std(begin.elapsed()).unwrap() * SPEED;
            if passed >= TimeDelta::days(14) {
                break;
            }
            set_clock(&clock, start + passed);
            std::thread::sleep(STEP);
        }
        let log = service.log();
        service.signal("TERM");
        assert!(service.wait().success());
        for (verb, due) in [("run", run), ("verify", verify)] {
            let begun = begun(&test_env, verb);
            let ends = due[1..].iter().copied().chain([start + TimeDelta::days(14)]);
            let each: Vec<usize> = due
                .iter()
                .zip(ends)
                .map(|(from, to)| begun.iter().filter(|begun| (*from..to).contains(*begun)).count())
                .collect();
            assert_eq!(each, vec![1; due.len()], "{verb}: due {due:#?}, begun {begun:#?}\n{log}");
            assert_eq!(begun.len(), due.len(), "{verb}: before the first due time: {begun:#?}");
        }
    }

    /// Returns the due times of consecutive days: at `before` of UTC before a day, at `after` since
    /// that day, and `on` in place of it on the day itself.
    fn days(first: &str, before: &str, changed: &str, on: &str, after: &str) -> Vec<DateTime<Utc>> {
        let day = |days: i64| (utc(&format!("{first} 00:00")) + TimeDelta::days(days)).format("%Y-%m-%d").to_string();
        (0..14)
            .map(|number| {
                let date = day(number);
                let time = match date.as_str().cmp(changed) {
                    std::cmp::Ordering::Less => before,
                    std::cmp::Ordering::Equal => on,
                    std::cmp::Ordering::Greater => after,
                };
                utc(&format!("{date} {time}"))
            })
            .collect()
    }

    fn sorted(mut one: Vec<DateTime<Utc>>, other: Vec<DateTime<Utc>>) -> Vec<DateTime<Utc>> {
        one.extend(other);
        one.sort();
        one
    }

    #[test]
    fn two_weeks_around_the_start_of_summer_time() {
        // 02:30 does not exist on the 28th: the run is due at 03:00, 01:00 UTC.
        let run = days("2027-03-22", "01:30", "2027-03-28", "01:00", "00:30");
        let morning = days("2027-03-22", "05:00", "2027-03-28", "04:00", "04:00");
        let evening = days("2027-03-22", "17:00", "2027-03-28", "16:00", "16:00");
        serve_two_weeks("2027-03-21 22:00", &run, &sorted(morning, evening));
    }

    #[test]
    fn two_weeks_around_the_end_of_summer_time() {
        // 02:30 occurs twice on the 31st: the run is due the first time, 00:30 UTC.
        let run = days("2027-10-25", "00:30", "2027-10-31", "00:30", "01:30");
        let morning = days("2027-10-25", "04:00", "2027-10-31", "05:00", "05:00");
        let evening = days("2027-10-25", "16:00", "2027-10-31", "17:00", "17:00");
        serve_two_weeks("2027-10-24 22:00", &run, &sorted(morning, evening));
    }
}
