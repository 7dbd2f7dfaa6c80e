//! Many images on all threads.

use std::collections::BTreeMap;

use tch::Tensor;

use super::workspace::Workspace;
use super::{EventError, EventNetwork};
use crate::engine::{Input, Probe, Quantity, Recording};
use crate::error::Result;
use crate::kernels::{Number, elements, share_out};
use crate::network::SpikingSequential;

/// What is to be simulated of each image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until<'a> {
    pub steps: usize,
    /// The lead of the best output at which an image is done.
    pub margin: Option<f64>,
    /// The stages whose output is to be kept.
    pub keep: &'a [usize],
}

/// What came of one image.
pub(crate) struct Done<'a, R> {
    pub index: usize,
    /// The network's output over time, `[steps, output]`.
    pub output: Vec<R>,
    /// The output over time of each stage to be kept.
    pub kept: Vec<Vec<R>>,
    network: &'a EventNetwork<R>,
    workspace: &'a Workspace<R>,
}

impl<R: Number> Done<'_, R> {
    /// How often each neuron of the layer spiked, in the order of tensors.
    fn counts(&self, layer: usize) -> Vec<R> {
        let Some(index) = self.network.stage_of(layer) else { return Vec::new() };
        let (counts, shape) = (self.workspace.counts(index), self.network.plan.stages[index].output);
        (0..shape.len()).map(|neuron| counts[shape.stored_at(neuron)]).collect()
    }

    /// The same in the order in which they are stored, the same for every image: faster.
    pub(crate) fn stored_counts(&self, layer: usize) -> impl Iterator<Item = &[R]> {
        self.network.stage_of(layer).into_iter().flat_map(|index| {
            let (shape, counts) = (self.network.plan.stages[index].output, self.workspace.counts(index));
            // Without padding, all positions are one slice.
            let whole = if shape.padded() == shape.channels { shape.positions() } else { 1 };
            let (stored, used) = (whole * shape.padded(), whole * shape.channels);
            counts.chunks_exact(stored.max(1)).map(move |counts| &counts[..used])
        })
    }
}

/// A thread's memory.
struct Worker<R, A> {
    workspace: Workspace<R>,
    gathered: A,
}

impl<R: Number> EventNetwork<R> {
    /// Runs `images` (one after the other in memory) on all threads. Each thread collects in a value of its own, which
    /// `seen` adds every finished image to; all of them are returned.
    pub(crate) fn run_all<A: Send + Default>(
        &self,
        images: &[R],
        until: Until,
        seen: impl Fn(&mut A, Done<R>) + Sync,
    ) -> Result<Vec<A>, EventError> {
        let size = self.plan.input.len();
        let count = images.len() / size;
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).clamp(1, count.max(1));
        self.check(&images[..size.min(images.len())], until.steps)?;
        let worker =
            || Worker { workspace: self.workspace(until.steps, until.margin.is_some()), gathered: A::default() };
        let mut workers: Vec<_> = (0..threads).map(|_| worker()).collect();
        share_out(&mut workers, count, |Worker { workspace, gathered }, index| {
            let (output, kept) = self.simulate(workspace, &images[index * size..][..size], until);
            seen(gathered, Done { index, output, kept, network: self, workspace });
        });
        let (workspaces, gathered): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|worker| (worker.workspace, worker.gathered)).unzip();
        self.give_back(workspaces);
        Ok(gathered)
    }

    /// The stage that ends with the layer.
    fn stage_of(&self, layer: usize) -> Option<usize> {
        self.plan.stages.iter().position(|stage| stage.layer == layer)
    }
}

/// Checks that the event engine keeps what `probes` ask for.
pub(crate) fn check_probes(network: &SpikingSequential, probes: &[Probe]) -> Result<()> {
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

/// The contiguous images of an input.
pub(crate) fn images(network: &SpikingSequential, input: Input) -> Result<Tensor> {
    match input {
        Input::Sequence(_) => Err(EventError::Sequence.into()),
        Input::Constant(tensor) => {
            network.check_input(tensor, 1)?;
            Ok(tensor.f_detach()?.f_contiguous()?)
        }
    }
}

/// One image's part of a recording.
struct Part<R> {
    index: usize,
    output: Vec<R>,
    /// One for each probe.
    probed: Vec<Vec<R>>,
}

/// Runs `steps` timesteps of `images`, which [`images`] made, from a fresh state.
pub(crate) fn record<R: Number>(
    event: &EventNetwork<R>,
    network: &SpikingSequential,
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
    let parts = event.run_all(elements(images)?, until, |parts: &mut Vec<Part<R>>, mut done| {
        let mut kept = std::mem::take(&mut done.kept).into_iter();
        let probed = probes.iter().zip(&layers).map(|(probe, &layer)| match probe.quantity {
            Quantity::SpikeCount => done.counts(layer),
            // The last layer may be no stage of its own (a flatten, say): its output is the network's.
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

/// From `[images][steps * size]` to `[steps, images, size]`.
fn stack<R: Number>(images: &[&[R]], steps: i64) -> Result<Tensor> {
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
