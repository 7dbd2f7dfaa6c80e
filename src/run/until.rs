//! Samples that can be stopped.

use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind};

use crate::data::{Batch, Samples};
use crate::error::Result;
use crate::network::SpikingSequential;
use crate::train::TrainError;

/// Samples that give no batch any more once `stop` is set: whatever reads them ends with [`TrainError::Stopped`], within
/// a batch.
#[derive(Debug)]
pub struct Until<'a> {
    /// The samples.
    pub samples: &'a dyn Samples,
    /// The request to stop.
    pub stop: &'a AtomicBool,
}

impl Samples for Until<'_> {
    fn len(&self) -> i64 {
        self.samples.len()
    }

    fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(TrainError::Stopped.into()),
            false => self.samples.batch(rows, to, kind),
        }
    }

    fn check(&self, network: &SpikingSequential) -> Result<()> {
        self.samples.check(network)
    }
}
