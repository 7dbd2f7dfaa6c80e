//! Other work on this machine, and what it does to the threads of libtorch.
//!
//! The threads of an operation wait for each other in a loop (libgomp spins, by default for milliseconds). With a
//! processor each, that is the fastest way. Where other processes run too, the loop takes from the thread that is waited
//! for the processor that it needs, and training is several times slower.

use std::sync::OnceLock;
use std::time::Duration;

/// The environment variables that say how libgomp waits; it reads them when it is loaded, before `main`.
const WAITING: [&str; 2] = ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"];

/// The commands that compute for long enough.
const COMPUTING: [&str; 4] = ["train", "evaluate", "simulate", "convert-network"];

/// The number of looks at the machine, and the time between two.
const LOOKS: usize = 5;
const BETWEEN: Duration = Duration::from_millis(4);

/// The load of the machine at the start of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The number of threads of other processes that are running or waiting for a processor.
    pub others: usize,
    /// The number of processors.
    pub processors: usize,
}

impl Load {
    /// The load at the first call; `None` where the system does not tell it (other than Linux).
    pub fn at_start() -> Option<Self> {
        static LOAD: OnceLock<Option<Load>> = OnceLock::new();
        *LOAD.get_or_init(|| {
            let processors = processors(&std::fs::read_to_string("/proc/stat").ok()?);
            let mut looks = Vec::with_capacity(LOOKS);
            for _ in 0..LOOKS {
                looks.push(running(&std::fs::read_to_string("/proc/loadavg").ok()?)?);
                std::thread::sleep(BETWEEN);
            }
            looks.sort_unstable();
            // This process is one of those that run while it looks.
            Some(Self { others: looks[LOOKS / 2].saturating_sub(1), processors })
        })
    }

    /// Whether `threads` threads of this process have to share processors with others.
    pub fn crowds(self, threads: usize) -> bool {
        self.others > 0 && self.others + threads > self.processors
    }

    /// A warning for a command with `threads` threads, if they have to share processors.
    pub fn warning(self, threads: usize) -> Option<String> {
        let Self { others, processors } = self;
        let free = processors.saturating_sub(others).max(1);
        (threads > 1 && self.crowds(threads)).then(|| {
            format!(
                "{others} other {} running on this machine's {processors} processors: {threads} threads wait for \
                 each other, which can be several times slower than --threads {free}",
                if others == 1 { "thread is" } else { "threads are" }
            )
        })
    }
}

/// The number of threads that run or wait for a processor, from `/proc/loadavg`.
fn running(loadavg: &str) -> Option<usize> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok()
}

/// The number of processors, from `/proc/stat`.
fn processors(stat: &str) -> usize {
    let is_one =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    stat.lines().filter(is_one).count()
}

/// On a busy machine, starts a command that computes again with threads that sleep while they wait, unless the
/// environment says how they wait. On a machine with a free processor for every thread, nothing is done.
///
/// The process stays the same (`exec`); there is no other way to set what libgomp reads before `main`.
#[cfg(target_os = "linux")]
pub fn wait_asleep_if_busy() {
    use std::os::unix::process::CommandExt;
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let arguments: Vec<_> = arguments.collect();
    let computes = arguments.iter().any(|word| COMPUTING.iter().any(|command| word == command));
    if !computes || WAITING.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if let (Some(load), Ok(program)) = (Load::at_start(), std::env::current_exe())
        && cores > 1
        && load.crowds(cores)
    {
        let mut command = std::process::Command::new(program);
        if let Some(name) = name {
            command.arg0(name);
        }
        // Comes back only if it failed: then this process goes on as it is.
        let _ = command.args(arguments).env(WAITING[0], "0").exec();
    }
}

/// Other systems do not tell how busy they are.
#[cfg(not(target_os = "linux"))]
pub fn wait_asleep_if_busy() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_read_as_linux_writes_it() {
        assert_eq!(running("24.38 55.87 33.98 13/181 4959\n"), Some(13));
        assert_eq!(running("0.00"), None);
        let stat = "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\ncpu10 1 2 3\nintr 5\ncpufreq 9\n";
        assert_eq!(processors(stat), 3);
    }

    #[test]
    fn threads_are_crowded_only_by_others() {
        let load = |others, processors| Load { others, processors };
        assert!(!load(0, 2).crowds(2) && !load(0, 2).crowds(64) && !load(1, 4).crowds(3));
        assert!(load(1, 2).crowds(2) && load(9, 2).crowds(1));
        assert_eq!(load(1, 2).warning(1), None);
        let warning = load(3, 4).warning(4).unwrap();
        assert!(warning.contains("3 other threads") && warning.ends_with("--threads 1"), "{warning}");
    }
}
