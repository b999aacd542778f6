//! The notices that are due, given those that were sent: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use longshore_notify::{Event, State};

use super::matter::{Matter, Scope};
use super::memory::Sent;

/// Returns the notices that are due at a channel that reports the events `on` and reminds of
/// problems after `remind`. A problem that is in the scope, but not among `matters`, is over.
pub(super) fn plan(
    matters: &[Matter],
    sent: Option<&BTreeMap<String, Sent>>,
    scope: &Scope,
    (on, remind): (&BTreeSet<Event>, TimeDelta),
    now: DateTime<Utc>,
) -> Vec<(State, Matter)> {
    let mut due = Vec::new();
    let empty = BTreeMap::new();
    let sent = sent.unwrap_or(&empty);
    let mut found = BTreeSet::new();
    for matter in matters {
        let key = matter.key();
        if !found.insert(key.clone()) || !on.contains(&matter.event) {
            continue;
        }
        match sent.get(&key) {
            None => due.push((State::Onset, matter.clone())),
            Some(before) => {
                let matter = Matter { since: before.matter.since, ..matter.clone() };
                if matter.is_worse_than(&before.matter) {
                    due.push((State::Onset, matter));
                // A clock that was set back must not silence a problem.
                } else if now - before.time >= remind || before.time > now {
                    due.push((State::Reminder, matter));
                }
            }
        }
    }
    let over = sent.iter().filter(|(key, before)| !found.contains(*key) && scope.contains(&before.matter));
    due.extend(over.map(|(_, before)| (State::Recovered, before.matter.clone())));
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: TimeDelta = TimeDelta::days(1);

    fn matter(event: Event, job: &str) -> Matter {
        Matter { job: Some(job.to_owned()), ..Matter::new(event, String::new(), String::new()) }
    }

    fn states(due: &[(State, Matter)]) -> Vec<State> {
        due.iter().map(|(state, _)| *state).collect()
    }

    /// Plans, and remembers all notices as sent.
    fn step(sent: &mut BTreeMap<String, Sent>, matters: &[Matter], on: &[Event], now: DateTime<Utc>) -> Vec<State> {
        let scope = Scope::new(|_| true);
        let due = plan(matters, Some(sent), &scope, (&on.iter().copied().collect(), DAY), now);
        let states = states(&due);
        Sent::apply(sent, due, now);
        states
    }

    #[test]
    fn problem_has_an_onset_reminders_and_a_recovery() {
        let (mut sent, start) = (BTreeMap::new(), Utc::now());
        let failed = || [matter(Event::RunFailed, "nightly")];
        let all = Event::DEFAULT;
        assert_eq!(step(&mut sent, &failed(), &all, start), [State::Onset]);
        assert_eq!(step(&mut sent, &failed(), &all, start + TimeDelta::hours(1)), []);
        assert_eq!(step(&mut sent, &failed(), &all, start + TimeDelta::hours(24)), [State::Reminder]);
        assert_eq!(step(&mut sent, &failed(), &all, start + TimeDelta::hours(25)), []);
        assert_eq!(step(&mut sent, &[], &all, start + TimeDelta::hours(26)), [State::Recovered]);
        assert_eq!(step(&mut sent, &[], &all, start + TimeDelta::hours(27)), []);
        assert_eq!(step(&mut sent, &failed(), &all, start + TimeDelta::hours(28)), [State::Onset]);
    }

    #[test]
    fn lost_memory_sends_again_and_never_less() {
        let failed = [matter(Event::RunFailed, "nightly")];
        let on = BTreeSet::from(Event::DEFAULT);
        let scope = Scope::new(|_| true);
        assert_eq!(states(&plan(&failed, None, &scope, (&on, DAY), Utc::now())), [State::Onset]);
        assert_eq!(states(&plan(&[], None, &scope, (&on, DAY), Utc::now())), []);
    }

    #[test]
    fn worse_problem_is_an_onset_and_a_lesser_one_no_recovery() {
        let (mut sent, now) = (BTreeMap::new(), Utc::now());
        let partial = [matter(Event::RunPartial, "nightly")];
        let failed = [matter(Event::RunFailed, "nightly")];
        let all = Event::DEFAULT;
        assert_eq!(step(&mut sent, &partial, &all, now), [State::Onset]);
        assert_eq!(step(&mut sent, &failed, &all, now), [State::Onset]);
        assert_eq!(step(&mut sent, &partial, &all, now), []);
        // A channel that reports only failures does not report a partial success as a recovery.
        let mut sent = BTreeMap::new();
        let failures = [Event::RunFailed, Event::Recovered];
        assert_eq!(step(&mut sent, &failed, &failures, now), [State::Onset]);
        assert_eq!(step(&mut sent, &partial, &failures, now), []);
        assert_eq!(step(&mut sent, &[], &failures, now), [State::Recovered]);
    }

    #[test]
    fn problem_outside_of_the_scope_is_not_over() {
        let (mut sent, now) = (BTreeMap::new(), Utc::now());
        step(&mut sent, &[matter(Event::RunFailed, "nightly")], &Event::DEFAULT, now);
        let on = BTreeSet::from(Event::DEFAULT);
        assert_eq!(plan(&[], Some(&sent), &Scope::empty(), (&on, DAY), now), []);
        let other = Scope::new(|matter| matter.job.as_deref() == Some("weekly"));
        assert_eq!(plan(&[], Some(&sent), &other, (&on, DAY), now), []);
    }

    #[test]
    fn clock_that_was_set_back_silences_no_problem() {
        let (mut sent, now) = (BTreeMap::new(), Utc::now());
        let failed = [matter(Event::RunFailed, "nightly")];
        step(&mut sent, &failed, &Event::DEFAULT, now + TimeDelta::days(400));
        assert_eq!(step(&mut sent, &failed, &Event::DEFAULT, now), [State::Reminder]);
    }

    #[test]
    fn recovery_is_not_sent_without_its_event() {
        let (mut sent, now) = (BTreeMap::new(), Utc::now());
        let on = BTreeSet::from([Event::RunFailed]);
        step(&mut sent, &[matter(Event::RunFailed, "nightly")], &[Event::RunFailed], now);
        let due = plan(&[], Some(&sent), &Scope::new(|_| true), (&on, DAY), now);
        assert_eq!(states(&due), [State::Recovered], "the memory forgets the problem, and sends nothing");
    }
}
