//! The releases of PostgreSQL for each tier of tests.

use longshore_testkit::cluster::Installation;

/// Returns the newest release.
pub(crate) fn newest() -> Installation {
    Installation::all().pop().unwrap()
}

/// Returns the oldest and the newest release.
pub(crate) fn oldest_and_newest() -> Vec<Installation> {
    let all = Installation::all();
    vec![all[0].clone(), all[all.len() - 1].clone()]
}

/// Returns the releases between the oldest and the newest.
pub(crate) fn between() -> Vec<Installation> {
    let all = Installation::all();
    all[1..all.len() - 1].to_vec()
}

/// Returns all releases except the newest.
pub(crate) fn older() -> Vec<Installation> {
    let mut all = Installation::all();
    all.pop().unwrap();
    all
}
