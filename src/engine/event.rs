//! Adapts networks and recordings to the core's event engine.

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};
use tch_spiking_core::event::{EventError, EventNetwork, Until};
use tch_spiking_core::file::Array;
use tch_spiking_core::kernels::Number;

use super::{Activity, Probe, Quantity, Recording};
use crate::error::Result;
use crate::kernels::{TensorNumber, elements};
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

/// Returns the number of threads on which samples are simulated.
pub(crate) fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// Checks that the event engine supports `probes`.
pub(crate) fn check_probes(network: &Network, probes: &[Probe]) -> Result<()> {
    for probe in probes {
        probe.check(network)?;
        let neurons = network.layer(&probe.layer).is_some_and(|layer| layer.neurons() > 0);
        let last = network.layers().last().is_some_and(|layer| layer.name() == probe.layer);
        let kept = match probe.quantity {
            Quantity::SpikeCount => true,
            Quantity::Output => neurons || last,
            Quantity::Current | Quantity::State(_) => false,
        };
        if !kept {
            return Err(EventError::Probe(probe.to_string()).into());
        }
    }
    Ok(())
}

/// Returns the samples of an input as a contiguous tensor.
pub(crate) fn images(network: &Network, input: &Activity) -> Result<Tensor> {
    match input {
        Activity::Varying(_) => Err(EventError::Sequence.into()),
        Activity::Constant(tensor) => {
            network.check_input(tensor, 1, network.kind())?;
            Ok(tensor.f_detach()?.f_contiguous()?)
        }
    }
}

/// One sample's part of a recording.
struct Part<R> {
    index: usize,
    output: Vec<R>,
    /// One per probe.
    probed: Vec<Vec<R>>,
}

/// Runs `steps` timesteps of `images`, as returned by [`images`], from a fresh state.
pub(crate) fn record<R: Number + TensorNumber + tch::kind::Element>(
    event: &EventNetwork<R>,
    network: &Network,
    images: &Tensor,
    steps: i64,
    probes: &[Probe],
) -> Result<Recording> {
    let batch = images.size()[0];
    let layers: Vec<usize> = probes
        .iter()
        .map(|probe| network.layers().iter().position(|layer| layer.name() == probe.layer).unwrap_or(usize::MAX))
        .collect();
    let keep: Vec<usize> = probes
        .iter()
        .zip(&layers)
        .filter(|(probe, _)| probe.quantity == Quantity::Output)
        .filter_map(|(_, &layer)| event.stage_of(layer))
        .collect();
    let until = Until { steps: usize::try_from(steps).unwrap_or(0), margin: None, keep: &keep };
    let parts = event.run_all(elements(images)?, threads(), until, |parts: &mut Vec<Part<R>>, mut done| {
        let mut kept = std::mem::take(&mut done.kept).into_iter();
        let probed = probes.iter().zip(&layers).map(|(probe, &layer)| match probe.quantity {
            Quantity::SpikeCount => done.counts(layer),
            // The last layer may not be a stage of its own (such as a flatten layer): its output is the network's.
            _ if event.stage_of(layer).is_none() => done.output.clone(),
            _ => kept.next().unwrap_or_default(),
        });
        let probed = probed.collect();
        parts.push(Part { index: done.index, output: done.output, probed });
    })?;
    let mut parts: Vec<Part<R>> = parts.into_iter().flatten().collect();
    parts.sort_unstable_by_key(|part| part.index);
    let over_time = |values: Vec<&[R]>, shape: &[i64]| -> Result<Tensor> {
        Ok(stack(&values, steps)?.f_reshape([&[steps, batch], shape].concat())?)
    };
    let output = over_time(parts.iter().map(|part| part.output.as_slice()).collect(), network.output_shape())?;
    let mut probed = BTreeMap::new();
    for (index, (probe, &layer)) in probes.iter().zip(&layers).enumerate() {
        let values: Vec<&[R]> = parts.iter().map(|part| part.probed[index].as_slice()).collect();
        let shape = network.layers()[layer].output_shape();
        let tensor = match probe.quantity {
            Quantity::SpikeCount => stack(&values, 1)?.f_reshape([&[batch], shape].concat())?,
            _ => over_time(values, shape)?,
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
