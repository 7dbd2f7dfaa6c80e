//! The loss of a network as spikes.

use tch::Kind;

use crate::data::{Samples, batches};
use crate::engine::{Activity, Simulation};
use crate::error::Result;
use crate::network::SpikingSequential;
use crate::train::Objective;

/// Computes the mean loss of `samples` with the network as spikes, without gradients; `NaN` without samples.
///
/// [`SpikingOptions`](super::SpikingOptions) applies, except for the confidence: every sample runs to the last step.
/// The objective takes the output over time, `[T, B, output]`.
///
/// # Errors
/// If the samples do not match the network, or their targets do not match the objective.
pub fn spiking_loss(
    network: &SpikingSequential,
    samples: &dyn Samples,
    objective: &dyn Objective,
    options: super::SpikingOptions,
) -> Result<f64> {
    const BATCH: i64 = 250;
    let _without_gradient = tch::no_grad_guard();
    let count = options.samples.unwrap_or(i64::MAX).clamp(0, samples.len());
    let (mut sum, mut done) = (0.0, 0);
    for batch in batches(samples, count, BATCH, network) {
        let batch = batch?;
        let steps = batch.input.steps().unwrap_or(options.steps);
        let simulation = Simulation::new(steps).memory(options.memory).engine(options.engine).first_sample(done);
        done += batch.input.batch().unsigned_abs();
        let output = Activity::Varying(simulation.run(network, &batch.input)?.output);
        let loss = objective.loss(&output, &batch.target)?.f_to_kind(Kind::Double)?.f_double_value(&[])?;
        sum += loss * batch.input.batch() as f64;
    }
    Ok(sum / count as f64)
}
