//! The samples of the program and of a process that serves metrics.

use std::fs;

use crate::families::Families;
use crate::metric;

/// The facts about a process that serves metrics.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// True if the last reload of the configuration succeeded.
    pub last_reload_successful: bool,
    /// True if the schedules could be evaluated; `None` if the service starts no job by itself.
    pub last_schedule_successful: Option<bool>,
    /// The receivers of WAL that the service starts.
    pub receivers: Vec<ReceiverSample>,
}

/// The state of a receiver of WAL.
#[derive(Debug, Clone)]
pub struct ReceiverSample {
    /// The name of the cluster.
    pub cluster: String,
    /// True if the WAL of the cluster is received, by this service or by another process.
    pub is_up: bool,
    /// The number of times that the service started the receiver again.
    pub restarts: u64,
}

pub(crate) fn add(families: &mut Families, service: Option<&Service>) {
    families.add(metric::BUILD_INFO, &vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0);
    if let Some(service) = service {
        let labels = Vec::new();
        let truth = |value: bool| if value { 1.0 } else { 0.0 };
        families.add(metric::RELOAD, &labels, truth(service.last_reload_successful));
        families.add_known(metric::SCHEDULE, &labels, service.last_schedule_successful.map(truth));
        for receiver in &service.receivers {
            let labels = vec![("cluster", receiver.cluster.clone())];
            families.add(metric::RECEIVER_UP, &labels, truth(receiver.is_up));
            families.add(metric::RECEIVER_RESTARTS, &labels, receiver.restarts as f64);
        }
        let process = Process::this();
        families.add_known(metric::PROCESS_START, &labels, process.start_seconds);
        families.add_known(metric::PROCESS_MEMORY, &labels, process.resident_bytes);
        families.add_known(metric::PROCESS_CPU, &labels, process.cpu_seconds);
        families.add_known(metric::PROCESS_FILES, &labels, process.open_files);
    }
}

/// The clock ticks in a second, as Linux reports times to programs.
const TICKS: f64 = 100.0;

/// The state of this process, as far as `/proc` shows it.
struct Process {
    start_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    cpu_seconds: Option<f64>,
    open_files: Option<f64>,
}

impl Process {
    fn this() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field, the name of the program, may contain spaces and parentheses.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"));
        let resident = resident.and_then(|kibibytes| kibibytes.trim().parse::<f64>().ok());
        Self {
            start_seconds: boot.zip(field(22)).map(|(boot, start)| boot + start / TICKS),
            resident_bytes: resident.map(|kibibytes| kibibytes * 1024.0),
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64),
        }
    }
}
