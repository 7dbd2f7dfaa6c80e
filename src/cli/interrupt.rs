//! Ctrl-C handling for commands that need to finish cleanly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tch_spiking::run::IgnoredSignals;

/// The command was interrupted and stopped cleanly; the exit code is 130.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Returns a flag that the first Ctrl-C (or SIGTERM, SIGHUP) sets; the second ends the process immediately.
///
/// Without this call an interrupt ends the process as usual. What the process was started to ignore (`nohup`, `&` in a
/// script) it still ignores. A process can call this once.
pub fn interrupt_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let ignored = IgnoredSignals::now();
    if ignored.all() {
        return Ok(flag);
    }
    let raised = Arc::clone(&flag);
    let on_interrupt = move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(on_interrupt).context("cannot listen for Ctrl-C")?;
    // The handler was installed for all three.
    ignored.restore();
    Ok(flag)
}
