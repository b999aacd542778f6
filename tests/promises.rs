//! Longshore's promises, tested with the real binary against real servers: one file per promise.
//!
//! The tests need PostgreSQL's server, `age`, `zstd` and `jq`, which `cargo xtask test` installs. A
//! test fails with a message if one is missing.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

mod a_backup_is_what_its_name_says;
mod a_broken_program_costs_nothing;
mod a_destination_is_not_believed;
mod a_drill_finds_sabotage;
mod a_drill_leaves_nothing;
mod a_drill_takes_any_cluster;
mod a_drill_touches_nothing_outside;
mod a_failed_dump_leaves_nothing;
mod a_good_backup_is_never_damaged;
mod a_long_list_stays_readable;
mod a_policy_is_tried_before_it_is_trusted;
mod a_pooler_is_refused;
mod a_restore_brings_the_data_first;
mod a_restore_equals_the_source;
mod a_restore_finds_its_way;
mod a_restore_looks_first;
mod a_restore_refuses_what_it_must;
mod a_restore_says_what_is_in_its_way;
mod a_restore_takes_what_is_chosen;
mod a_store_locks_what_it_takes;
mod adopts_what_other_scripts_left;
mod an_interrupted_restore_undoes_itself;
mod an_interruption_leaves_nothing;
mod an_unsealed_backup_is_refused;
mod check_looks_ahead;
mod check_surveys_what_a_run_needs;
mod connects_as_libpq_does;
mod destinations_catch_up;
mod drills_prove_that_backups_restore;
mod dumps_hold_what_was_asked_for;
mod every_file_can_be_undone_by_hand;
mod inspect_tells_what_is_in_a_dump;
mod little_privilege_suffices;
mod memory_is_bounded;
mod mistakes_are_said_before_the_run;
mod names_are_known_or_suggested;
mod nothing_is_overwritten;
mod one_backup_is_removed_by_hand;
mod one_destination_fails_alone;
mod only_one_runs;
mod retention_keeps_what_it_must;
mod run_reports_tell_how_runs_ended;
mod sabotage_is_found;
mod seals_with_every_kind_of_key;
mod secrets_stay_secret;
mod sessions_do_not_inherit_settings;
mod ships_to_hosts_and_buckets;
mod single_damages_are_found;
mod speaks_to_people_and_programs;
mod speaks_with_servers_of_any_language;
mod standbys_are_dumped;
mod status_tells_what_needs_attention;
mod the_database_goes_first;
mod verify_finds_damage;
mod verify_finds_sabotage;
mod what_is_left_out_is_named;
