//! The recording of a simulation.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};
use tch_spiking_core::probe::{Probe, Quantity};

/// The result of a simulation.
#[derive(Debug)]
pub struct Recording {
    /// The network's output over time, `[T, B, output]`.
    pub output: Tensor,
    /// What was probed; shapes as each [`Quantity`] says.
    pub probed: BTreeMap<Probe, Tensor>,
}

impl Recording {
    /// The output at the last step, `[B, output]`.
    pub fn last_output(&self) -> Tensor {
        self.output.get(-1)
    }

    /// What `probe` recorded, if it was asked for.
    pub fn get(&self, probe: &Probe) -> Option<&Tensor> {
        self.probed.get(probe)
    }

    /// The recordings of several batches as one.
    pub(super) fn of_batches(parts: &[Self]) -> Result<Self, TchError> {
        // Images are the first dimension of a count, the second of everything over time.
        Self::join(parts, 1, |counts| Tensor::f_cat(counts, 0))
    }

    /// The recordings of stretches of time, one after the other, as one.
    pub(super) fn of_stretches(parts: &[Self]) -> Result<Self, TchError> {
        Self::join(parts, 0, |counts| Tensor::f_stack(counts, 0)?.f_sum_dim_intlist(0, false, counts[0].kind()))
    }

    fn join(
        parts: &[Self],
        dimension: i64,
        join_counts: impl Fn(&[&Tensor]) -> Result<Tensor, TchError>,
    ) -> Result<Self, TchError> {
        let output = Tensor::f_cat(&parts.iter().map(|part| &part.output).collect::<Vec<_>>(), dimension)?;
        let probes = parts.first().into_iter().flat_map(|part| part.probed.keys().cloned());
        let probed = probes.map(|probe| {
            let tensors: Vec<&Tensor> = parts.iter().filter_map(|part| part.probed.get(&probe)).collect();
            let joined = match probe.quantity {
                Quantity::SpikeCount => join_counts(&tensors)?,
                _ => Tensor::f_cat(&tensors, dimension)?,
            };
            Ok((probe, joined))
        });
        Ok(Self { output, probed: probed.collect::<Result<_, TchError>>()? })
    }
}
