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
        $crate::conformance_tests! { $make, stores_bodies_larger_than_its_memory }

        mod slow {
            $crate::conformance_tests! { super::$make, stores_huge_bodies_in_little_memory }
        }
    };
}

/// Defines the test of many keys, for destinations that run the other behaviours on one fixture:
/// with many keys in one place, every listing would be long.
#[macro_export]
macro_rules! many_conformance {
    ($make:path) => {
        $crate::conformance_tests! { $make, lists_all_keys_in_order }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! ship_behaviours {
    ($then:ident, $with:path) => {
        $crate::$then! {
            $with,
            stores_bodies_of_any_length,
            stores_empty_bodies,
            stores_large_bodies,
            preserves_encoded_keys,
            preserves_long_keys,
            separates_keys_with_a_common_prefix,
            supports_concurrent_uploads,
            never_overwrites_a_key,
            racing_writers_store_one_whole_body,
            failed_bodies_leave_nothing,
            abandoned_bodies_leave_nothing,
            dropped_uploads_leave_nothing,
            failed_uploads_can_be_repeated,
            check_succeeds_and_leaves_nothing,
            claims_are_held_until_dropped,
            claims_of_other_names_do_not_conflict,
            reports_free_space,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! store_behaviours {
    ($then:ident, $with:path) => {
        $crate::$then! {
            $with,
            lists_all_keys_in_order,
            unfinished_uploads_are_invisible,
            fetches_ranges,
            rejects_ranges_past_the_end,
            missing_keys_are_not_found,
            lists_one_folder,
            lists_backups_without_archived_wal,
            reports_sizes,
            names_of_other_programs_can_be_processed,
            removed_keys_are_gone,
            removing_a_missing_key_succeeds,
            removal_leaves_keys_with_a_common_prefix,
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
                let time_limit = fixture.scale.time_limit;
                let behaviour_test = $crate::conformance::$behaviour(&fixture);
                tokio::time::timeout(time_limit, behaviour_test).await.expect("the behaviour is proven within the time limit");
            }
        )+
    };
}
