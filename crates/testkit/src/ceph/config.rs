//! The configuration of the daemons: one of each, fast, in memory, with all files in one folder.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::Path;

/// The capacity of the store, in bytes. Unused capacity takes no memory.
const BYTES: u64 = 1 << 30;

/// Returns the configuration of all daemons.
pub(super) fn text(folder: &Path, cluster: &str, monitor: &str, gateway: SocketAddr) -> String {
    let dir = folder.display();
    format!(
        "[global]\n\
         fsid = {cluster}\n\
         mon_host = {monitor}\n\
         public_addr = 127.0.0.1\n\
         cluster_addr = 127.0.0.1\n\
         auth_cluster_required = none\n\
         auth_service_required = none\n\
         auth_client_required = none\n\
         ms_mon_client_mode = crc secure\n\
         ms_mon_service_mode = crc secure\n\
         ms_mon_cluster_mode = crc secure\n\
         keyring = /dev/null\n\
         mon_data = {dir}/mon\n\
         osd_data = {dir}/osd\n\
         rgw_data = {dir}/rgw\n\
         run_dir = {dir}\n\
         crash_dir = {dir}\n\
         admin_socket =\n\
         pid_file =\n\
         log_to_file = false\n\
         log_to_stderr = true\n\
         mon_cluster_log_to_file = false\n\
         debug_rocksdb = 0\n\
         paxos_propose_interval = 0.01\n\
         paxos_min_wait = 0.01\n\
         mon_data_avail_crit = 1\n\
         mon_allow_pool_size_one = true\n\
         osd_objectstore = memstore\n\
         memstore_device_bytes = {BYTES}\n\
         osd_crush_chooseleaf_type = 0\n\
         osd_pool_default_size = 1\n\
         osd_pool_default_min_size = 1\n\
         osd_pool_default_pg_num = 1\n\
         osd_pool_default_pgp_num = 1\n\
         osd_pool_default_pg_autoscale_mode = off\n\
         rgw_frontends = beast endpoint={gateway}\n\
         rgw_thread_pool_size = 32\n\
         rgw_gc_obj_min_wait = 1\n\
         rgw_gc_processor_period = 5\n"
    )
}

/// Returns a random UUID in Ceph's format.
pub(super) fn uuid() -> String {
    let word = |number: u8| RandomState::new().hash_one(number);
    let (high, low) = (word(0), word(1));
    let (version, variant) = (high & 0xfff | 0x4000, low >> 48 & 0x3fff | 0x8000);
    format!(
        "{:08x}-{:04x}-{version:04x}-{variant:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        low & 0xffff_ffff_ffff
    )
}
