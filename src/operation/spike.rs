//! The spiking step over time, for tensors.

use half::bf16;
use tch::{Device, Kind, TchError, Tensor};

use tch_spiking_core::kernels::{Drive, NeuronOrder};
use tch_spiking_core::neuron::{Neuron, NeuronError};

use super::drive::check_drive;
use super::rate::attach_rate_gradient;
use super::{DriveNoise, Layout, Spikes, SpikingDrive, evaluate};
use crate::error::Result;
use crate::kernels::cuda::{self, ScanTensors};
use crate::kernels::{self, NoiseRows, Scan, TensorNumber};

/// Runs `drive.steps` timesteps of spiking neurons and advances `state` in place; used in inference.
///
/// `record` selects the state variables to record.
///
/// # Shapes
/// - `drive.input`: `[B, S]`, constant over time, or `[T, B, S]` with `T = steps`; `gain`, `bias`: `S`.
/// - `state`: one `[B, S]` tensor per state variable of the model.
/// - returns output (spikes times amplitude over dt) `[T, B, S]`, of the input's dtype.
///
/// The input may be `BFloat16` (all else `Float`): currents and states are computed in `Float`.
///
/// # Errors
/// Returns an error if shapes, dtypes or devices differ.
pub fn spike(model: impl Into<Neuron>, drive: &SpikingDrive, state: &mut [Tensor], record: &[bool]) -> Result<Spikes> {
    let model = &model.into();
    model.validate()?;
    check(model, drive, state, record)?;
    let _without_gradient = tch::no_grad_guard();
    Ok(match (drive.input.device(), drive.input.kind()) {
        (Device::Cpu, Kind::Float) => on_cpu::<f32>(model, drive, state, record)?,
        (Device::Cpu, Kind::Double) => on_cpu::<f64>(model, drive, state, record)?,
        (Device::Cpu, Kind::BFloat16) => on_cpu::<bf16>(model, drive, state, record)?,
        (Device::Cuda(_), _) if cuda::computes_spikes(model, drive.dt, drive.input, drive.bias) => {
            fused(model, drive, state, record, cuda::scan)?
        }
        _ => with_tensors(model, drive, state, record)?,
    })
}

/// Computes spikes with the gradient of the rate (spiking-aware training, as in KerasSpiking).
///
/// The forward pass is [`spike`]; the backward pass uses the gradient of the rate at every timestep,
/// `d output[t] / d input[t] = rate'(J[t]) * gain`, as if neurons had no memory. A network is then trained with the
/// spikes that it produces in inference. No gradient flows into `state`.
///
/// # Shapes
/// As for [`spike`]; with a constant input the gradient is the sum over the timesteps.
///
/// # Errors
/// Returns an error if the model has no rate, or shapes, dtypes or devices differ.
pub fn spike_aware(model: impl Into<Neuron>, drive: &SpikingDrive, state: &mut [Tensor]) -> Result<Spikes> {
    let model = &model.into();
    model.require_rate()?;
    let detached = [drive.input, drive.gain, drive.bias].map(Tensor::detach);
    let [input, gain, bias] = &detached;
    let spikes = spike(model, &SpikingDrive { input, gain, bias, ..*drive }, state, &vec![false; state.len()])?;
    attach_rate_gradient(model, drive.input, drive.gain, drive.bias, &spikes.output)?;
    Ok(spikes)
}

/// Checks that the tensors fit the model and each other.
pub(super) fn check(
    model: &Neuron,
    drive: &SpikingDrive,
    state: &[Tensor],
    record: &[bool],
) -> Result<(), NeuronError> {
    check_drive(model.name(), drive.input, drive.gain, drive.bias)?;
    let fail = |cause| Err(NeuronError::Input { neuron: model.name(), cause });
    NeuronError::require(model.name(), "dt", drive.dt, drive.dt > 0.0 && drive.dt.is_finite(), "a time above 0 s")?;
    let variables = model.state();
    if state.len() != variables.len() || record.len() != variables.len() {
        let names: Vec<_> = variables.iter().map(|variable| variable.name).collect();
        return fail(format!("expected {} state variables {names:?}, got {}", names.len(), state.len()));
    }
    let fits = |tensor: &&Tensor| {
        (tensor.size() == drive.bias.size() || tensor.numel() == 1)
            && tensor.kind() == drive.bias.kind()
            && tensor.device() == drive.input.device()
    };
    if drive.learned.len() != model.learned().len() || drive.learned.iter().any(|tensor| !fits(&tensor)) {
        let names: Vec<_> = model.learned().iter().map(|learned| learned.name).collect();
        return fail(format!(
            "expected {} learned parameters {names:?}, of [1] or {:?} and of the bias's kind and device, got {:?}",
            names.len(),
            drive.bias.size(),
            drive.learned
        ));
    }
    if model.is_noisy() && drive.noise.is_none() {
        return fail("it is noisy, but no source of random numbers was given".to_string());
    }
    let batch = batch_shape(drive);
    let expected = match drive.input.dim() - drive.bias.dim() {
        1 => batch.clone(),
        2 => [vec![drive.steps], batch.clone()].concat(),
        _ => vec![],
    };
    if drive.steps < 1 || drive.input.size() != expected {
        return fail(format!(
            "input {:?} for {} steps of neurons {:?}: expected [batch, neurons] or [steps, batch, neurons]",
            drive.input.size(),
            drive.steps,
            drive.bias.size()
        ));
    }
    for (name, tensor) in variables.iter().map(|variable| variable.name).zip(state) {
        if tensor.size() != batch || tensor.kind() != drive.bias.kind() || tensor.device() != drive.input.device() {
            return fail(format!(
                "state {name} is {:?} {:?}, expected {:?} {batch:?} as the layer's parameters and batch: make a new state for a new batch size",
                tensor.kind(),
                tensor.size(),
                drive.bias.kind()
            ));
        }
    }
    Ok(())
}

/// Returns the shape `[B, S]`.
fn batch_shape(drive: &SpikingDrive) -> Vec<i64> {
    let size = drive.input.size();
    size[size.len().saturating_sub(drive.bias.dim() + 1)..].to_vec()
}

fn fused(
    model: &Neuron,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    record: &[bool],
    scan: impl FnOnce(&Neuron, f64, ScanTensors) -> Result<(), TchError>,
) -> Result<Spikes, TchError> {
    let layout = Layout::of(drive.input, drive.bias.dim());
    let input = layout.in_memory_order(drive.input)?;
    let gain = layout.in_memory_order(drive.gain)?;
    let bias = layout.in_memory_order(drive.bias)?;
    let learned = learned_in_memory_order(drive, layout)?;
    // Copies: the caller's state stays unchanged if anything below fails, and may share memory with another tensor.
    let mut flat: Vec<Tensor> =
        state.iter().map(|tensor| layout.in_memory_order(tensor)?.f_detach_copy()).collect::<Result<_, TchError>>()?;
    let shape = [vec![drive.steps], flat.first().map(Tensor::size).unwrap_or_default()].concat();
    let mut output = Tensor::f_empty(&shape, (input.kind(), input.device()))?;
    let empty = || Tensor::f_empty(&shape, (bias.kind(), input.device()));
    let mut recorded: Vec<Option<Tensor>> =
        record.iter().map(|&wanted| wanted.then(empty).transpose()).collect::<Result<_, TchError>>()?;
    let tensors = ScanTensors {
        drive: [&input, &gain, &bias],
        learned: &learned,
        noise: drive.noise.map(|noise| noise_rows(noise, layout, drive.bias)),
        steps: drive.steps,
        varying: drive.input.dim() == drive.bias.dim() + 2,
        state: &mut flat,
        output: &mut output,
        record: &mut recorded,
    };
    scan(model, drive.dt, tensors)?;
    for (state, flat) in state.iter_mut().zip(&flat) {
        *state = layout.in_shape_order(flat)?;
    }
    let recorded = recorded
        .iter()
        .map(|tensor| tensor.as_ref().map(|tensor| layout.in_shape_order(tensor)).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Spikes { output: layout.in_shape_order(&output)?, total: None, recorded })
}

fn on_cpu<S: TensorNumber>(
    model: &Neuron,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    record: &[bool],
) -> Result<Spikes, TchError>
where
    S::Computed: TensorNumber,
{
    let layout = Layout::of(drive.input, drive.bias.dim());
    let shape = state.first().map(|state| layout.in_memory_order(state)).transpose()?;
    let mut total = Tensor::f_empty(shape.map_or(vec![], |state| state.size()), (drive.bias.kind(), Device::Cpu))?;
    let spikes = fused(model, drive, state, record, |model, dt, tensors| {
        let ScanTensors { drive: [input, gain, bias], learned, noise, steps, state, output, record, .. } = tensors;
        let scan = Scan {
            drive: Drive {
                input: kernels::elements::<S>(input)?,
                gain: kernels::elements(gain)?,
                bias: kernels::elements(bias)?,
            },
            steps: steps as usize,
            dt,
            learned: learned.iter().map(kernels::elements).collect::<Result<_, _>>()?,
            noise,
            state: state.iter_mut().map(kernels::elements_mut).collect::<Result<_, _>>()?,
            output: kernels::elements_mut(output)?,
            total: kernels::elements_mut(&mut total)?,
            record: record
                .iter_mut()
                .map(|tensor| tensor.as_mut().map(kernels::elements_mut).transpose())
                .collect::<Result<_, _>>()?,
        };
        kernels::scan(model, scan);
        Ok(())
    })?;
    Ok(Spikes { total: Some(layout.in_shape_order(&total)?), ..spikes })
}

/// Each learned parameter with one value per neuron.
pub(super) fn learned_in_memory_order(drive: &SpikingDrive, layout: Layout) -> Result<Vec<Tensor>, TchError> {
    drive.learned.iter().map(|tensor| layout.in_memory_order(&tensor.f_expand_as(drive.bias)?)).collect()
}

/// Returns the random numbers of a batch whose neurons have this layout.
pub(super) fn noise_rows(noise: DriveNoise, layout: Layout, bias: &Tensor) -> NoiseRows {
    let DriveNoise { key, first_sample, first_step } = noise;
    let order = match (layout, bias.size().as_slice()) {
        (Layout::ChannelsLast, &[channels, height, width]) => {
            NeuronOrder::ChannelsLast { channels: channels as u32, positions: (height * width) as u32 }
        }
        _ => NeuronOrder::Shape,
    };
    NoiseRows { key, first_sample, first_step, order }
}

/// Draws the random numbers of a noisy model as a tensor, `[T, B, S]`.
pub(super) fn noise_of(model: &Neuron, drive: &SpikingDrive) -> Result<Option<Tensor>, TchError> {
    drive.noise.filter(|_| model.is_noisy()).map(|noise| uniform(noise, drive)).transpose()
}

/// Draws the random numbers of every step and neuron as a tensor, `[T, B, S]`.
fn uniform(noise: DriveNoise, drive: &SpikingDrive) -> Result<Tensor, TchError> {
    let (batch, neurons) = (batch_shape(drive), drive.bias.numel());
    let mut values = Vec::new();
    for step in 0..drive.steps as u64 {
        for sample in 0..batch[0] as u64 {
            let of_sample = noise.key.sample(noise.first_sample + sample).later(noise.first_step + step);
            values.extend((0..neurons as u32).map(|neuron| of_sample.uniform::<f32>(neuron, 0)));
        }
    }
    let values = Tensor::f_from_slice(&values)?.f_reshape([vec![drive.steps], batch].concat())?;
    values.f_to_device(drive.input.device())?.f_to_kind(drive.bias.kind())
}

fn with_tensors(
    model: &Neuron,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    record: &[bool],
) -> Result<Spikes, TchError> {
    let variables = model.state().len();
    let formula = model.step_formula(drive.dt);
    let current = drive.input.f_to_kind(drive.bias.kind())?.f_mul(drive.gain)?.f_add(drive.bias)?;
    let varying = drive.input.dim() == drive.bias.dim() + 2;
    let uniform = noise_of(model, drive)?;
    let mut now: Vec<Tensor> = state.iter().map(Tensor::shallow_clone).collect();
    let mut outputs = Vec::new();
    let mut histories: Vec<Vec<Tensor>> = (0..variables).map(|_| Vec::new()).collect();
    for step in 0..drive.steps {
        let current = if varying { current.f_get(step)? } else { current.shallow_clone() };
        let noise = uniform.as_ref().map(|uniform| uniform.f_get(step)).transpose()?;
        let inputs: Vec<&Tensor> = std::iter::once(&current).chain(drive.learned).chain(&noise).chain(&now).collect();
        let mut results = evaluate(&formula, &inputs)?;
        now = results.split_off(1);
        outputs.append(&mut results);
        for (variable, history) in histories.iter_mut().enumerate() {
            if record[variable] {
                history.push(now[variable].shallow_clone());
            }
        }
    }
    let recorded = histories
        .iter()
        .map(|history| (!history.is_empty()).then(|| Tensor::f_stack(history, 0)).transpose())
        .collect::<Result<_, _>>()?;
    state.iter_mut().zip(now).for_each(|(state, now)| *state = now);
    let output = Tensor::f_stack(&outputs, 0)?.f_to_kind(drive.input.kind())?;
    Ok(Spikes { output, total: None, recorded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch_spiking_core::neuron::{Lif, RectifiedLinear};

    fn compare(model: impl Into<Neuron>, constant: bool) {
        let model = &model.into();
        let options = (Kind::Double, Device::Cpu);
        let shape: &[i64] = if constant { &[2, 70] } else { &[40, 2, 70] };
        let input = Tensor::linspace(-50.0, 250.0, shape.iter().product(), options).reshape(shape);
        let gain = Tensor::linspace(0.5, 2.0, 70, options);
        let bias = Tensor::linspace(0.0, 1.0, 70, options);
        let drive = SpikingDrive::new(&input, &gain, &bias, 40, 0.001);
        let start = || -> Vec<Tensor> {
            (0..model.state().len())
                .map(|variable| match variable {
                    0 => Tensor::linspace(0.0, 1.0, 140, options).reshape([2, 70]),
                    _ => Tensor::zeros([2, 70], options),
                })
                .collect()
        };
        let (mut ours_state, mut theirs_state) = (start(), start());
        let record = vec![true; model.state().len()];
        let ours = spike(model, &drive, &mut ours_state, &record).unwrap();
        let theirs = with_tensors(model, &drive, &mut theirs_state, &record).unwrap();
        assert!(ours.output.equal(&theirs.output));
        assert!(f64::try_from(ours.output.sum(Kind::Double)).unwrap() > 0.0);
        let pairs = ours.recorded.iter().flatten().zip(theirs.recorded.iter().flatten());
        for (ours, theirs) in pairs.chain(ours_state.iter().zip(&theirs_state)) {
            assert!(ours.allclose(theirs, 1e-9, 1e-12, false));
        }
    }

    #[test]
    fn kernels_and_tensor_operations_agree() {
        for constant in [true, false] {
            compare(Lif::default(), constant);
            compare(Lif { min_voltage: -1.0, tau_ref: 0.0, ..Lif::default() }, constant);
            compare(RectifiedLinear { amplitude: 0.5 }, constant);
        }
    }
}
