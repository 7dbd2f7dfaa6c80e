//! The dense engine: every layer computes all timesteps at once, on libtorch, on any device.
//!
//! A network without feedback can run layer by layer over all of time: one convolution on `[T * B, C, H, W]`, then one
//! scan over `T` inside one kernel, instead of `T` rounds of small ones. What comes before the first neurons sees a
//! constant input and is computed once.

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

use super::{Activity, Input, Probe, Quantity, Recording};
use crate::error::Result;
use crate::network::{Layer, LayerKind, NetworkError, Parameters, SpikingSequential, State};
use crate::neuron::{Neuron, SpikingDrive};

/// Timesteps up to which adding up spikes in single precision, one after the other, cannot be off by half a spike.
const MOST_IN_SINGLE: i64 = 1000;

/// Runs `steps` timesteps from `state`, which is moved on.
pub(crate) fn run(
    network: &SpikingSequential,
    input: Input,
    steps: i64,
    state: &mut State,
    probes: &[Probe],
) -> Result<Recording> {
    let _without_gradient = tch::no_grad_guard();
    let (tensor, leading) = match input {
        Input::Constant(tensor) => (tensor, 1),
        Input::Sequence(tensor) => (tensor, 2),
    };
    network.check_input(tensor, leading)?;
    check_steps(input, steps)?;
    if state.batch() != input.batch() || state.layers.len() != network.layers().len() {
        let cause = format!("it is of {} images, the input of {}", state.batch(), input.batch());
        return Err(NetworkError::State(cause).into());
    }
    probes.iter().try_for_each(|probe| probe.check(network))?;
    let mut activity = match input {
        Input::Constant(tensor) => Activity::Constant(tensor.shallow_clone()),
        Input::Sequence(tensor) => Activity::Varying(tensor.shallow_clone()),
    };
    let mut probed = BTreeMap::new();
    for (layer, state) in network.layers().iter().zip(&mut state.layers) {
        let wanted: Vec<&Probe> = probes.iter().filter(|probe| probe.layer == layer.name()).collect();
        activity = match (layer.kind(), &layer.parameters) {
            (_, Parameters::Neurons(neurons)) => {
                let (gain, bias) = (neurons.gain_like(activity.tensor())?, neurons.resting_current()?);
                let dt = network.spec().dt;
                let drive = SpikingDrive { input: activity.tensor(), gain: &gain, bias: &bias, steps, dt };
                spike(neurons.model.as_ref(), &drive, state, &wanted, &mut probed)?
            }
            (LayerKind::Synapse(synapse), _) => {
                Activity::Varying(synapse.filter(&activity.over_time(steps)?, network.spec().dt, state)?)
            }
            _ => activity.map(|batch| layer.apply(batch))?,
        };
        record_output(layer, &activity, steps, &wanted, &mut probed)?;
    }
    Ok(Recording { output: activity.over_time(steps)?, probed })
}

pub(super) fn check_steps(input: Input, steps: i64) -> Result<(), NetworkError> {
    let fail = |expected: String| Err(NetworkError::Input { expected, found: format!("{steps} steps") });
    match input {
        _ if steps < 1 => fail("at least one timestep".to_string()),
        Input::Sequence(tensor) if tensor.size()[0] != steps => {
            fail(format!("{} timesteps of input", tensor.size()[0]))
        }
        _ => Ok(()),
    }
}

fn spike(
    model: &dyn Neuron,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    probes: &[&Probe],
    probed: &mut BTreeMap<Probe, Tensor>,
) -> Result<Activity> {
    let names = model.state_names();
    let probe_of =
        |name: &str| probes.iter().find(|probe| matches!(&probe.quantity, Quantity::State(wanted) if wanted == name));
    let record: Vec<bool> = names.iter().map(|name| probe_of(name).is_some()).collect();
    let spikes = model.spike(drive, state, &record)?;
    for (name, tensor) in names.iter().zip(spikes.recorded) {
        if let (Some(probe), Some(tensor)) = (probe_of(name), tensor) {
            probed.insert((*probe).clone(), tensor);
        }
    }
    for probe in probes {
        let tensor = match probe.quantity {
            Quantity::Current => {
                let current = drive.input.f_mul(drive.gain)?.f_add(drive.bias)?;
                match drive.input.dim() - drive.bias.dim() {
                    1 => current.f_expand([&[drive.steps], current.size().as_slice()].concat(), false)?,
                    _ => current,
                }
            }
            Quantity::SpikeCount => {
                let per_spike = model.amplitude() / drive.dt;
                let sum = match &spikes.total {
                    Some(total) if drive.steps <= MOST_IN_SINGLE => total.f_to_kind(Kind::Double)?,
                    _ => spikes.output.f_sum_dim_intlist(0, false, Kind::Double)?,
                };
                // Whole numbers, freed of the rounding of amplitude over dt.
                sum.f_div_scalar(per_spike)?.f_round()?.f_to_kind(drive.input.kind())?
            }
            Quantity::Output | Quantity::State(_) => continue,
        };
        probed.insert((*probe).clone(), tensor);
    }
    Ok(Activity::Varying(spikes.output))
}

fn record_output(
    layer: &Layer,
    activity: &Activity,
    steps: i64,
    probes: &[&Probe],
    probed: &mut BTreeMap<Probe, Tensor>,
) -> Result<(), TchError> {
    if probes.iter().any(|probe| probe.quantity == Quantity::Output) {
        probed.insert(Probe::output(layer.name()), activity.over_time(steps)?);
    }
    Ok(())
}
