//! The signals that end a process on request: which of them it ignores.

// SAFETY: the signatures are those of signals.cpp, which build.rs compiles into this very library.
unsafe extern "C" {
    fn tch_spiking_ignored_signals() -> u32;
    fn tch_spiking_ignore_signals(ignored: u32);
}

/// The number of signals that are known: SIGINT, SIGTERM, SIGHUP.
const KNOWN: u32 = 3;

/// Those of SIGINT, SIGTERM and SIGHUP that the process ignores.
///
/// A process that was started to survive them (`nohup`, `&` in a script) inherits that they are ignored, and must leave
/// it so: take [`now`](Self::now) before installing handlers, and [`restore`](Self::restore) after. On Windows, none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgnoredSignals(u32);

impl IgnoredSignals {
    /// The signals that are ignored now.
    pub fn now() -> Self {
        // SAFETY: only reads the dispositions of signals.
        Self(unsafe { tch_spiking_ignored_signals() })
    }

    /// Whether all three are ignored.
    pub fn all(self) -> bool {
        self.0 == (1 << KNOWN) - 1
    }

    /// Ignores these again.
    pub fn restore(self) {
        // SAFETY: ignoring a signal runs no code of ours in a handler; the numbers are those that `now` returned.
        unsafe { tch_spiking_ignore_signals(self.0) }
    }
}
