//! The spiking step over time, for tensors.

use tch::{Device, Kind, TchError, Tensor};

use super::dynamic::check_drive;
use super::rate_operation;
use super::{Layout, Neuron, NeuronError, NeuronModel, Spikes, SpikingDrive, StateArray};
use crate::error::Result;
use crate::kernels::cuda::{self, ScanTensors};
use crate::kernels::{self, Drive, Element, Scan};

/// See [`Neuron::spike`](super::Neuron::spike).
pub(super) fn spike<M: NeuronModel>(
    model: &M,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    record: &[bool],
) -> Result<Spikes> {
    check::<M>(drive, state, record)?;
    let _without_gradient = tch::no_grad_guard();
    Ok(match (drive.input.device(), drive.input.kind()) {
        (Device::Cpu, Kind::Float) => on_cpu::<M, f32>(model, drive, state, record)?,
        (Device::Cpu, Kind::Double) => on_cpu::<M, f64>(model, drive, state, record)?,
        (Device::Cuda(_), _) if cuda::computes_spikes(model, drive.dt, drive.input) => {
            fused(model, drive, state, record, cuda::scan)?
        }
        _ => with_tensors(model, drive, state, record)?,
    })
}

/// See [`Neuron::spike_aware`](super::Neuron::spike_aware).
pub(super) fn spike_aware<M: NeuronModel>(model: &M, drive: &SpikingDrive, state: &mut [Tensor]) -> Result<Spikes> {
    let detached = [drive.input, drive.gain, drive.bias].map(Tensor::detach);
    let [input, gain, bias] = &detached;
    let spikes = spike(model, &SpikingDrive { input, gain, bias, ..*drive }, state, &vec![false; state.len()])?;
    rate_operation::attach_rate_gradient(model, drive.input, drive.gain, drive.bias, &spikes.output)?;
    Ok(spikes)
}

fn check<M: NeuronModel>(drive: &SpikingDrive, state: &[Tensor], record: &[bool]) -> Result<(), NeuronError> {
    check_drive::<M>(drive.input, drive.gain, drive.bias)?;
    let fail = |cause| Err(NeuronError::Input { neuron: M::NAME, cause });
    if drive.bias.kind() != drive.input.kind() {
        return fail(format!(
            "the input is {:?}, gain and bias {:?}: they must be equal",
            drive.input.kind(),
            drive.bias.kind()
        ));
    }
    NeuronError::require(M::NAME, "dt", drive.dt, drive.dt > 0.0 && drive.dt.is_finite(), "a time above 0 s")?;
    let variables = <M::State<f32> as StateArray<f32>>::LEN;
    if M::STATE.len() != variables || !(1..=kernels::MAX_STATE).contains(&variables) {
        return fail(format!(
            "a model has 1 to {} state variables, each with a name; this one has {variables} and the names {:?}",
            kernels::MAX_STATE,
            M::STATE
        ));
    }
    if state.len() != M::STATE.len() || record.len() != M::STATE.len() {
        return fail(format!("expected {} state variables {:?}, got {}", M::STATE.len(), M::STATE, state.len()));
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
    for (name, tensor) in M::STATE.iter().zip(state) {
        if tensor.size() != batch || tensor.kind() != drive.input.kind() || tensor.device() != drive.input.device() {
            return fail(format!(
                "state {name} is {:?} {:?}, expected {:?} {batch:?} as the input: make a new state for a new batch size",
                tensor.kind(),
                tensor.size(),
                drive.input.kind()
            ));
        }
    }
    Ok(())
}

/// `[B, S]`.
fn batch_shape(drive: &SpikingDrive) -> Vec<i64> {
    let size = drive.input.size();
    size[size.len().saturating_sub(drive.bias.dim() + 1)..].to_vec()
}

fn fused<M: NeuronModel>(
    model: &M,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    record: &[bool],
    scan: impl FnOnce(&M, f64, ScanTensors) -> Result<(), TchError>,
) -> Result<Spikes, TchError> {
    let layout = Layout::of(drive.input, drive.bias.dim());
    let input = layout.in_memory_order(drive.input)?;
    let gain = layout.in_memory_order(drive.gain)?;
    let bias = layout.in_memory_order(drive.bias)?;
    // Copies: the state handed in stays as it was if anything below fails, and may share memory with another.
    let mut flat: Vec<Tensor> =
        state.iter().map(|tensor| layout.in_memory_order(tensor)?.f_detach_copy()).collect::<Result<_, TchError>>()?;
    let shape = [vec![drive.steps], flat.first().map(Tensor::size).unwrap_or_default()].concat();
    let empty = || Tensor::f_empty(&shape, (input.kind(), input.device()));
    let mut output = empty()?;
    let mut recorded: Vec<Option<Tensor>> =
        record.iter().map(|&wanted| wanted.then(empty).transpose()).collect::<Result<_, TchError>>()?;
    let tensors = ScanTensors {
        drive: [&input, &gain, &bias],
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

fn on_cpu<M: NeuronModel, R: Element>(
    model: &M,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    record: &[bool],
) -> Result<Spikes, TchError> {
    let layout = Layout::of(drive.input, drive.bias.dim());
    let shape = state.first().map(|state| layout.in_memory_order(state)).transpose()?;
    let mut total = Tensor::f_empty(shape.map_or(vec![], |state| state.size()), (drive.input.kind(), Device::Cpu))?;
    let spikes = fused(model, drive, state, record, |model, dt, tensors| {
        let ScanTensors { drive: [input, gain, bias], steps, state, output, record, .. } = tensors;
        let scan = Scan {
            drive: Drive {
                input: kernels::elements::<R>(input)?,
                gain: kernels::elements(gain)?,
                bias: kernels::elements(bias)?,
            },
            steps: steps as usize,
            dt,
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

fn with_tensors<M: NeuronModel>(
    model: &M,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    record: &[bool],
) -> Result<Spikes, TchError> {
    let variables = M::STATE.len();
    let formula = model.step_formula(drive.dt);
    let current = drive.input.f_mul(drive.gain)?.f_add(drive.bias)?;
    let varying = drive.input.dim() == drive.bias.dim() + 2;
    let mut now: Vec<Tensor> = state.iter().map(Tensor::shallow_clone).collect();
    let mut outputs = Vec::new();
    let mut histories: Vec<Vec<Tensor>> = (0..variables).map(|_| Vec::new()).collect();
    for step in 0..drive.steps {
        let current = if varying { current.f_get(step)? } else { current.shallow_clone() };
        let inputs: Vec<&Tensor> = std::iter::once(&current).chain(&now).collect();
        let mut results = formula.evaluate(&inputs)?;
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
    Ok(Spikes { output: Tensor::f_stack(&outputs, 0)?, total: None, recorded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neuron::{Lif, RectifiedLinear};

    fn compare<M: NeuronModel>(model: &M, constant: bool) {
        let options = (Kind::Double, Device::Cpu);
        let shape: &[i64] = if constant { &[2, 70] } else { &[40, 2, 70] };
        let input = Tensor::linspace(-50.0, 250.0, shape.iter().product(), options).reshape(shape);
        let gain = Tensor::linspace(0.5, 2.0, 70, options);
        let bias = Tensor::linspace(0.0, 1.0, 70, options);
        let drive = SpikingDrive { input: &input, gain: &gain, bias: &bias, steps: 40, dt: 0.001 };
        let start = || -> Vec<Tensor> {
            (0..M::STATE.len())
                .map(|variable| match variable {
                    0 => Tensor::linspace(0.0, 1.0, 140, options).reshape([2, 70]),
                    _ => Tensor::zeros([2, 70], options),
                })
                .collect()
        };
        let (mut ours_state, mut theirs_state) = (start(), start());
        let record = vec![true; M::STATE.len()];
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
            compare(&Lif::default(), constant);
            compare(&Lif { min_voltage: -1.0, tau_ref: 0.0, ..Lif::default() }, constant);
            compare(&RectifiedLinear { amplitude: 0.5 }, constant);
        }
    }
}
