//! Longshore's promises, tested with the real binary against real servers: one file per promise.
//!
//! The tests need PostgreSQL's server, `age`, `zstd` and `jq`, which `cargo xtask test` installs. A
//! test fails with a message if one is missing.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

mod backups_reach_hosts_and_buckets;
mod base_backups_are_verified;
mod base_backups_come_from_files;
mod base_backups_drill;
mod base_backups_restore_clusters;
mod base_backups_survive_changes;
mod check_covers_all_requirements;
mod check_predicts_failures;
mod connections_work_as_in_libpq;
mod destinations_fail_independently;
mod drills_are_isolated;
mod drills_create_a_fitting_cluster;
mod drills_detect_tampering;
mod drills_restore_and_compare;
mod dump_settings_take_effect;
mod every_kind_of_key_encrypts;
mod every_run_leaves_a_report;
mod exchanged_files_are_damage;
mod failed_dumps_leave_nothing;
mod failed_restores_lose_no_data;
mod few_privileges_suffice;
mod foreign_dumps_can_be_adopted;
mod foreign_or_missing_files_are_reported;
mod good_backups_are_never_marked_damaged;
mod incremental_backups_restore;
mod inspect_lists_any_dump;
mod interrupted_drills_leave_nothing;
mod interrupted_restores_roll_back;
mod interrupted_runs_leave_nothing;
mod long_lists_are_readable;
mod memory_is_bounded;
mod mistakes_are_reported_early;
mod nothing_is_overwritten;
mod object_lock_covers_the_retention_time;
mod old_destinations_stay_readable;
mod omissions_are_named;
mod only_one_run_is_active;
mod output_suits_people_and_programs;
mod partial_restores_are_exact;
mod poolers_are_refused;
mod program_failures_lose_no_backup;
mod recovery_fetches_wal;
mod recovery_reaches_its_target;
mod recovery_survives_failovers;
mod remove_deletes_one_backup;
mod restores_check_the_target_first;
mod restores_complete_without_derived_objects;
mod restores_equal_the_source;
mod restores_fail_over_and_resume;
mod restores_report_obstacles_first;
mod retention_keeps_the_last_good_backup;
mod retention_policies_can_be_simulated;
mod secrets_stay_secret;
mod servers_may_use_any_language;
mod sessions_do_not_inherit_settings;
mod single_damages_are_detected;
mod snapshots_become_base_backups;
mod standbys_can_be_dumped;
mod status_reports_problems;
mod stock_tools_can_decode_every_file;
mod sync_copies_missing_backups;
mod tampering_is_detected;
mod unencrypted_backups_are_refused;
mod unknown_names_get_suggestions;
mod unneeded_wal_is_pruned;
mod verbose_logs_hold_no_secret;
mod verify_detects_damage;
mod verify_detects_tampering;
mod wal_is_archived;
mod wal_is_received;
