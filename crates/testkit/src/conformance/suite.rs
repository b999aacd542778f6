//! The list of behaviours, for separate tests and for a single call.

use super::Fixture;

/// Tests all behaviours of uploads, one after the other.
///
/// # Panics
/// At the first behaviour that fails.
pub async fn ship(fixture: &Fixture) {
    crate::ship_behaviours!(conformance_in_turn, fixture);
}

/// Tests all behaviours of uploads, reads, listings and deletions, one after the other.
///
/// # Panics
/// At the first behaviour that fails.
pub async fn store(fixture: &Fixture) {
    ship(fixture).await;
    crate::store_behaviours!(conformance_in_turn, fixture);
}

/// Defines one test per behaviour of a [`Ship`](longshore_core::stage::Ship), each with its own
/// [`Fixture`].
#[macro_export]
macro_rules! ship_conformance {
    ($make:path) => {
        $crate::ship_behaviours!(conformance_tests, $make);
    };
}

/// Defines one test per behaviour of a [`Store`](longshore_core::stage::Store), including uploads,
/// each with its own [`Fixture`].
#[macro_export]
macro_rules! store_conformance {
    ($make:path) => {
        $crate::ship_behaviours!(conformance_tests, $make);
        $crate::store_behaviours!(conformance_tests, $make);
    };
}

/// Defines the tests of a body that is larger than the memory limit. The quick test is always run.
/// The slow test is in the second tier: it takes minutes and gigabytes of disk, and test runners
/// run one test of this name at a time.
#[macro_export]
macro_rules! huge_conformance {
    ($make:ident) => {
        $crate::conformance_tests! { $make, a_body_larger_than_its_memory_arrives_whole }

        mod slow {
            $crate::conformance_tests! { super::$make, a_body_past_every_limit_arrives_whole_in_little_memory }
        }
    };
}

/// Defines the test of many keys, for destinations that run the other behaviours on one fixture:
/// with many keys in one place, every listing would be long.
#[macro_export]
macro_rules! many_conformance {
    ($make:path) => {
        $crate::conformance_tests! { $make, a_list_is_whole_and_in_the_order_of_keys }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! ship_behaviours {
    ($then:ident, $with:path) => {
        $crate::$then! {
            $with,
            a_body_arrives_whole,
            an_empty_body_arrives_as_an_empty_file,
            a_large_body_arrives_whole,
            a_key_with_encoded_characters_keeps_them,
            a_long_key_is_kept_whole,
            keys_that_begin_alike_do_not_meet,
            many_at_once_do_not_hinder_each_other,
            what_is_there_is_never_overwritten,
            of_writers_that_race_exactly_one_wins,
            a_body_that_fails_leaves_nothing_and_its_own_error_is_returned,
            a_body_whose_producer_went_away_leaves_nothing,
            a_future_that_is_dropped_leaves_nothing,
            what_has_failed_can_be_shipped_again,
            a_check_of_what_works_finds_nothing_amiss_and_leaves_nothing,
            a_claim_is_held_until_it_is_dropped,
            claims_of_other_names_do_not_meet,
            free_space_can_be_told_where_it_is_offered,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! store_behaviours {
    ($then:ident, $with:path) => {
        $crate::$then! {
            $with,
            a_list_is_whole_and_in_the_order_of_keys,
            what_is_in_progress_is_not_listed_and_not_there,
            a_fetch_of_a_range_gives_those_bytes,
            a_range_past_the_end_is_an_error_and_never_short,
            what_is_not_there_is_not_found,
            what_was_removed_is_gone,
            removing_what_is_not_there_is_no_error,
            removing_one_leaves_what_begins_alike,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_in_turn {
    ($fixture:path, $($behaviour:ident),+ $(,)?) => {
        $($crate::conformance::$behaviour($fixture).await;)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($make:path, $($behaviour:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let fixture: $crate::conformance::Fixture = $make().await;
                let patience = fixture.scale.patience;
                let proven = $crate::conformance::$behaviour(&fixture);
                tokio::time::timeout(patience, proven).await.expect("the behaviour is proven within the time limit");
            }
        )+
    };
}
