//! Mean and standard deviation of samples, for layers that standardise by them.

use tch::{Kind, Tensor};

use super::{DataError, Samples, batches};
use crate::error::Result;
use crate::network::{Layer, LayerKind, Network, Origin};

/// The batch size of the measurement.
const BATCH: i64 = 500;

/// Measures the statistics of `samples` for every layer of `network` that standardises by those of the training samples
/// (`{ type = "standardize" }` without numbers), and sets them; does nothing without such a layer.
///
/// Of a channel that never changes, the standard deviation is set to 1. A [`Trainer`](crate::train::Trainer) calls this
/// before training.
///
/// # Errors
/// If such a layer does not read the network's input, or the samples cannot be read.
pub fn measure_standardization(network: &Network, samples: &dyn Samples) -> Result<()> {
    let measured =
        |layer: &&Layer| matches!(layer.kind(), LayerKind::Standardize(standardize) if standardize.is_measured());
    let layers: Vec<&Layer> = network.layers().iter().filter(measured).collect();
    if layers.is_empty() {
        return Ok(());
    }
    for layer in &layers {
        if layer.inputs().iter().any(|edge| edge.from != Origin::Input) {
            return Err(DataError::Misfit(format!(
                "layer {} standardises by the statistics of the training samples, but does not read the network's input: \
                 give it a mean and a std",
                layer.name()
            ))
            .into());
        }
    }
    let _without_gradient = tch::no_grad_guard();
    let (mean, std) = statistics(network, samples)?;
    for layer in layers {
        for (name, mut parameter) in layer.named_parameters().into_iter().map(|(name, own)| (name, own.shallow_clone()))
        {
            parameter.f_copy_(if name == "mean" { &mean } else { &std })?;
        }
    }
    Ok(())
}

/// Computes mean and standard deviation of each channel, `[C]`.
fn statistics(network: &Network, samples: &dyn Samples) -> Result<(Tensor, Tensor)> {
    let mut sums: Option<[Tensor; 2]> = None;
    let mut count = 0.0;
    let channels = network.spec().input.first().copied().unwrap_or(1);
    for batch in batches(samples, samples.len(), BATCH, network) {
        let input = batch?.input;
        let values = input.tensor().f_flatten(0, input.leading() as i64 - 1)?.f_to_kind(Kind::Double)?;
        let values = values.f_reshape([values.size()[0], channels, -1])?;
        count += values.numel() as f64 / channels as f64;
        let sum = |values: &Tensor| values.f_sum_dim_intlist(&[0_i64, 2][..], false, Kind::Double);
        let of_batch = [sum(&values)?, sum(&values.f_square()?)?];
        sums = Some(match sums {
            Some([sum, squares]) => [sum.f_add(&of_batch[0])?, squares.f_add(&of_batch[1])?],
            None => of_batch,
        });
    }
    let Some([sum, squares]) = sums else {
        return Err(DataError::Misfit("there are no samples to measure".to_string()).into());
    };
    let mean = sum.f_div_scalar(count)?;
    let variance = squares.f_div_scalar(count)?.f_sub(&mean.f_square()?)?.f_clamp_min(0.0)?;
    let std = variance.f_sqrt()?;
    Ok((mean, std.f_where_self(&std.f_gt(0.0)?, &std.f_ones_like()?)?))
}
