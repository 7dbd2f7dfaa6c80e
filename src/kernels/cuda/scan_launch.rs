//! Launches of the spiking kernels.

use tch::{TchError, Tensor};

use super::launch::{BLOCK, Launch, Run, blocks, check, computed, pointer, pointers};
use super::scan_source::SEGMENT;
use crate::kernels::NoiseRows;
use tch_spiking_core::kernels::NeuronOrder;
use tch_spiking_core::neuron::Neuron;

/// Tensors that a spiking scan reads and writes; see [`kernels::Scan`](crate::kernels::Scan) for the shapes.
pub(crate) struct ScanTensors<'a> {
    /// Input, gain and bias.
    pub(crate) drive: [&'a Tensor; 3],
    /// Each learned parameter, with one value per neuron.
    pub(crate) learned: &'a [Tensor],
    /// Source of random numbers for noisy models.
    pub(crate) noise: Option<NoiseRows>,
    pub(crate) steps: i64,
    pub(crate) varying: bool,
    pub(crate) state: &'a mut [Tensor],
    pub(crate) output: &'a mut Tensor,
    pub(crate) record: &'a mut [Option<Tensor>],
}

/// Tensors that the gradients of a spiking scan are computed from, and those that receive them: `steps` timesteps of `batch`
/// rows of `neurons`.
pub(crate) struct BackwardTensors<'a> {
    /// Input, gain and bias of the forward pass.
    pub(crate) drive: [&'a Tensor; 3],
    /// Each learned parameter, with one value per neuron.
    pub(crate) learned: &'a [Tensor],
    /// Source of random numbers for noisy models.
    pub(crate) noise: Option<NoiseRows>,
    pub(crate) steps: i64,
    /// No gradient flows from the steps `0, truncate, ..` to the state before them.
    pub(crate) truncate: Option<i64>,
    /// The state before the first step, `[batch, neurons]` each.
    pub(crate) state: &'a [Tensor],
    /// The output's gradient, `[steps, batch, neurons]`; if the input varies, replaced by the input's.
    pub(crate) gradient: &'a mut Tensor,
    /// Receives the gradient of an input that is constant over time, `[batch, neurons]`; none if it varies.
    pub(crate) to_input: Option<&'a mut Tensor>,
    /// The gradient of the state after the last step, `[batch, neurons]` each, replaced by that of the state before the first.
    pub(crate) to_state: &'a mut [Tensor],
    /// Receives the gain's gradient, `[neurons]`, if it is wanted.
    pub(crate) to_gain: Option<&'a mut Tensor>,
    /// Receives the bias's gradient, `[neurons]`.
    pub(crate) to_bias: &'a mut Tensor,
    /// Receive the gradients of the learned parameters, `[neurons]` each.
    pub(crate) to_learned: &'a mut [Tensor],
}

pub(super) fn scan(run: Run, model: &Neuron, tensors: ScanTensors) -> Result<(), TchError> {
    let ScanTensors { drive, learned, noise, steps, varying, state, output, record } = tensors;
    let size = state.first().map_or(0, |state| state.numel() as i64);
    let (stored, kind) = (drive[0].kind(), computed(drive[0].kind()));
    count(model, "state variables", model.state().len(), state.len())?;
    count(model, "recordings", model.state().len(), record.len())?;
    check(&state.iter().collect::<Vec<_>>(), size, kind)?;
    check(&[&*output], steps * size, stored)?;
    check(&record.iter().flatten().collect::<Vec<_>>(), steps * size, kind)?;
    let mut arguments = drive_arguments(model, drive, learned, noise, if varying { steps * size } else { size })?;
    if size == 0 {
        return Ok(());
    }
    arguments.push(pointer(output));
    for (state, record) in state.iter().zip(record.iter()) {
        arguments.extend([pointer(state), record.as_ref().map_or(0, pointer)]);
    }
    arguments.extend([size as u64, drive[2].numel() as u64, steps as u64, u64::from(varying)]);
    run(Launch { kernel: "scan", grid: [blocks(size)?, 1], block: BLOCK, arguments })
}

/// Computes the gradients of [`scan`]; sums over samples in a fixed order.
pub(super) fn scan_backward(run: Run, model: &Neuron, tensors: BackwardTensors) -> Result<(), TchError> {
    let BackwardTensors { drive, learned, noise, steps, truncate, state, .. } = tensors;
    let BackwardTensors { gradient, to_input, to_state, to_gain, to_bias, to_learned, .. } = tensors;
    let size = state.first().map_or(0, |state| state.numel() as i64);
    let (neurons, varying) = (drive[2].numel() as i64, to_input.is_none());
    let (stored, kind) = (drive[0].kind(), computed(drive[0].kind()));
    count(model, "state variables", model.state().len(), state.len())?;
    count(model, "gradients of the state", state.len(), to_state.len())?;
    count(model, "gradients of learned parameters", learned.len(), to_learned.len())?;
    check(&state.iter().chain(&*to_state).collect::<Vec<_>>(), size, kind)?;
    check(&[&*gradient], steps * size, stored)?;
    check(&to_input.iter().map(|tensor| &**tensor).collect::<Vec<_>>(), size, stored)?;
    let mut arguments = drive_arguments(model, drive, learned, noise, if varying { steps * size } else { size })?;
    let mut sums: Vec<&mut Tensor> = to_gain.into_iter().collect();
    let with_gain = !sums.is_empty();
    sums.push(to_bias);
    sums.extend(to_learned);
    check(&sums.iter().map(|tensor| &**tensor).collect::<Vec<_>>(), neurons, kind)?;
    if size == 0 {
        return sums.into_iter().try_for_each(|sum| sum.f_zero_().map(drop));
    }
    let empty = |shape: [i64; 2]| Tensor::f_empty(shape, (kind, drive[0].device()));
    let parts = sums.iter().map(|_| empty([size / neurons, neurons])).collect::<Result<Vec<_>, _>>()?;
    let starts = state.iter().map(|_| empty([(steps - 1) / SEGMENT, size])).collect::<Result<Vec<_>, _>>()?;
    arguments.extend([pointer(gradient), to_input.map_or(0, |tensor| pointer(tensor))]);
    arguments.extend((!with_gain).then_some(0));
    arguments.extend(parts.iter().map(pointer));
    for ((state, starts), to_state) in state.iter().zip(&starts).zip(&*to_state) {
        arguments.extend([pointer(state), pointer(starts), pointer(to_state)]);
    }
    let truncate = truncate.unwrap_or(0) as u64;
    arguments.extend([size as u64, neurons as u64, steps as u64, truncate]);
    run(Launch { kernel: "scan_backward", grid: [blocks(size)?, 1], block: BLOCK, arguments })?;
    for (sum, parts) in sums.into_iter().zip(&parts) {
        sum.f_view(-1)?.f_copy_(&parts.f_sum_dim_intlist(0, false, kind)?)?;
    }
    Ok(())
}

/// The arguments that say what drives the neurons: input, gain, bias, learned parameters and noise.
fn drive_arguments(
    model: &Neuron,
    drive: [&Tensor; 3],
    learned: &[Tensor],
    noise: Option<NoiseRows>,
    inputs: i64,
) -> Result<Vec<u64>, TchError> {
    let (stored, neurons) = (drive[0].kind(), drive[2].numel() as i64);
    check(&drive[..1], inputs, stored)?;
    check(&drive[1..], neurons, computed(stored))?;
    count(model, "learned parameters", model.learned().len(), learned.len())?;
    let mut arguments = pointers(&drive);
    check(&learned.iter().collect::<Vec<_>>(), neurons, computed(stored))?;
    arguments.extend(learned.iter().map(pointer));
    if model.is_noisy() {
        let Some(NoiseRows { key, first_sample, first_step, order }) = noise else {
            return Err(TchError::Torch(format!("{} is noisy: expected a source of random numbers", model.name())));
        };
        let [low, high] = key.words().map(u64::from);
        let (channels, positions) = match order {
            NeuronOrder::Shape => (neurons.max(1) as u64, 1),
            NeuronOrder::ChannelsLast { channels, positions } => (channels.max(1).into(), positions.into()),
        };
        arguments.extend([high << 32 | low, first_sample, first_step, channels, positions]);
    }
    Ok(arguments)
}

/// Checks that there are as many tensors as the model needs.
fn count(model: &Neuron, what: &str, expected: usize, found: usize) -> Result<(), TchError> {
    if expected == found {
        return Ok(());
    }
    Err(TchError::Shape(format!("the kernels of {} need {expected} tensors ({what}), got {found}", model.name())))
}
