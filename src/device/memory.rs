//! The memory that this process may plan for.

use std::fs::read_to_string;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::DeviceError;

/// The limit that was set; 0 for none.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// The part of the available memory that may be planned for: needs are estimates.
const PART: f64 = 0.9;

/// Sets the most memory of the machine (bytes) that a network may need to be built, trained or run; what would need
/// more is refused before it begins. 0 restores the default: 90 % of what the machine (or the control group of the
/// process) has available.
pub fn set_memory_limit(bytes: u64) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// The most memory (bytes) that may be planned for, see [`set_memory_limit`]; where the system does not tell what is
/// available (other than Linux), there is no limit by default.
pub fn memory_limit() -> u64 {
    static AVAILABLE: OnceLock<u64> = OnceLock::new();
    match LIMIT.load(Ordering::Relaxed) {
        0 => *AVAILABLE.get_or_init(|| available().map_or(u64::MAX, |bytes| (bytes as f64 * PART) as u64)),
        limit => limit,
    }
}

/// Checks that `parts` (names and numbers of bytes) together are within the limit; `what` needs them.
///
/// # Errors
/// [`DeviceError::Memory`] with the sum, its parts and the limit.
pub(crate) fn check_memory(what: &str, parts: &[(&str, u128)]) -> Result<(), DeviceError> {
    let (sum, limit) = (parts.iter().map(|(_, bytes)| bytes).sum::<u128>(), memory_limit());
    if sum <= u128::from(limit) {
        return Ok(());
    }
    let parts: Vec<_> = parts.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
    Err(DeviceError::Memory {
        what: what.to_string(),
        sum: size(sum),
        parts: parts.join(", "),
        limit: size(u128::from(limit)),
    })
}

/// `1.5 GiB`.
fn size(bytes: u128) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        mib if mib < 1024.0 => format!("{mib:.1} MiB"),
        mib => format!("{:.1} GiB", mib / 1024.0),
    }
}

/// The memory (bytes) that the machine and the control groups of this process have left.
fn available() -> Option<u64> {
    let machine = entry(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:").map(|kib| kib << 10);
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    // A group is limited by those around it too. In a container, its own group is the root.
    let around = Path::new("/sys/fs/cgroup").join(group);
    let around = around.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let first_version = Path::new("/sys/fs/cgroup/memory");
    let second = around.filter_map(|folder| left(folder, "memory.max", "memory.current", "inactive_file"));
    let first = left(first_version, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
    machine.into_iter().chain(second).chain(first).min()
}

/// What the control group in `folder` has left, if it has a limit. Files that are only cached do not count as used.
fn left(folder: &Path, limit: &str, used: &str, cached: &str) -> Option<u64> {
    let number = |name: &str| read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let cached = entry(&read_to_string(folder.join("memory.stat")).unwrap_or_default(), cached).unwrap_or(0);
    Some(number(limit)?.saturating_sub(number(used)?.saturating_sub(cached)))
}

/// The number after `name` in lines of names and numbers.
fn entry(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
