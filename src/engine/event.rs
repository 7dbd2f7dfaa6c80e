//! Adapts networks and recordings to the core's event engine.

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};
use tch_spiking_core::event::{EventError, EventNetwork, RunOptions, Signal};
use tch_spiking_core::file::Array;
use tch_spiking_core::kernels::Number;

use super::{Activity, Quantity, Recording};
use crate::error::Result;
use crate::kernels::{LibtorchThreads, TensorNumber, elements};
use crate::network::Network;

/// Compiles `network` for the event engine.
pub(crate) fn compile<R: Number>(network: &Network) -> Result<EventNetwork<R>> {
    if network.device() != Device::Cpu {
        return Err(EventError::Device(format!("{:?}", network.device())).into());
    }
    let array = |(name, tensor): (String, Tensor)| -> Result<_, TchError> {
        let values = tensor.f_detach()?.f_to_kind(Kind::Double)?.f_contiguous()?.f_view(-1)?;
        Ok((name, Array { shape: tensor.size(), values: Vec::try_from(values)? }))
    };
    let parameters = network.named_parameters().into_iter().map(array).collect::<Result<_, TchError>>()?;
    Ok(EventNetwork::new(network.spec(), network.seed(), &parameters)?)
}

/// `input`, checked and contiguous.
pub(crate) fn contiguous(network: &Network, input: &Activity) -> Result<Activity> {
    network.check_input(input.tensor(), input.leading(), network.kind())?;
    Ok(input.with(input.tensor().f_detach()?.f_contiguous()?))
}

/// A contiguous input as the event engine takes it.
pub(crate) fn signal<R: TensorNumber>(input: &Activity) -> Result<Signal<'_, R>> {
    let values = elements(input.tensor())?;
    Ok(if input.is_varying() { Signal::Varying(values) } else { Signal::Constant(values) })
}

/// One sample's part of a recording.
struct Part<R> {
    index: usize,
    output: Vec<R>,
    /// One per probe.
    probed: Vec<Vec<R>>,
}

/// Runs an input from a fresh state.
pub(crate) fn record<R: Number + TensorNumber + tch::kind::Element>(
    event: &EventNetwork<R>,
    network: &Network,
    input: &Activity,
    options: RunOptions,
) -> Result<Recording> {
    let input = contiguous(network, input)?;
    let (batch, steps, probes) = (input.batch(), options.steps as i64, options.probes);
    let parts = event.run_all(signal(&input)?, &LibtorchThreads, options, |parts: &mut Vec<Part<R>>, done| {
        parts.push(Part { index: done.index, output: done.output, probed: done.probed });
    })?;
    let mut parts: Vec<Part<R>> = parts.into_iter().flatten().collect();
    parts.sort_unstable_by_key(|part| part.index);
    let over_time = |values: Vec<&[R]>, shape: &[i64]| -> Result<Tensor> {
        Ok(stack(&values, steps)?.f_reshape([&[steps, batch], shape].concat())?)
    };
    let output = over_time(parts.iter().map(|part| part.output.as_slice()).collect(), network.output_shape())?;
    let mut probed = BTreeMap::new();
    for (index, probe) in probes.iter().enumerate() {
        let values: Vec<&[R]> = parts.iter().map(|part| part.probed[index].as_slice()).collect();
        let shape = network.layer(&probe.layer).map_or(&[][..], |layer| layer.output_shape());
        let tensor = match probe.quantity {
            Quantity::SpikeCount => stack(&values, 1)?.f_reshape([&[batch], shape].concat())?,
            Quantity::Output | Quantity::Current | Quantity::State(_) => over_time(values, shape)?,
        };
        probed.insert(probe.clone(), tensor);
    }
    Ok(Recording { output, probed })
}

/// Stacks `[images][steps * size]` to `[steps, images, size]`.
fn stack<R: Number + tch::kind::Element>(images: &[&[R]], steps: i64) -> Result<Tensor> {
    let steps = usize::try_from(steps).unwrap_or(1);
    let mut all = Vec::with_capacity(images.iter().map(|values| values.len()).sum());
    for step in 0..steps {
        for values in images {
            let size = values.len() / steps;
            all.extend_from_slice(&values[step * size..][..size]);
        }
    }
    Ok(Tensor::f_from_slice(&all)?)
}
