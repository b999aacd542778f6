//! A folder in memory for the temporary files of tests. Starting a cluster creates a thousand small
//! files, which takes ext4 five times as long as a file system in memory.

use std::fs;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

/// The folder in memory that Linux distributions mount.
const FOLDER: &str = "/dev/shm";

/// The memory that the tests before a commit need at most, with space to spare.
const REQUIRED_BYTES: u64 = 12 << 30;

/// Returns the folder, if it may contain programs, and if it and the machine's memory have enough
/// free space.
pub(crate) fn folder() -> Option<&'static Path> {
    let folder = Path::new(FOLDER);
    let system = statvfs(folder).ok()?;
    let is_executable = !system.f_flag.contains(StatVfsMountFlags::NOEXEC);
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let available = available_memory(&fs::read_to_string("/proc/meminfo").ok()?)?;
    (is_executable && free.min(available) >= REQUIRED_BYTES).then_some(folder)
}

/// Returns the bytes of memory that programs can allocate, from the text of `/proc/meminfo`.
fn available_memory(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::available_memory;

    #[test]
    fn available_memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24689764 kB\nMemFree:  1 kB\nMemAvailable:   20971520 kB\n";
        assert_eq!(available_memory(meminfo), Some(20 << 30));
        assert_eq!(available_memory("MemTotal: 1 kB\n"), None);
    }
}
