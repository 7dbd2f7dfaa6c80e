//! Gradients through time by a fused kernel, for tensors in any memory order.

use tch::{TchError, Tensor};

use tch_spiking_core::neuron::Neuron;

use super::spike::{learned_in_memory_order, noise_rows};
use super::{Layout, SpikingDrive};
use crate::kernels::cuda::BackwardTensors;
use crate::native::autograd;

/// Computes the gradients of input, gain (if wanted), bias, learned parameters and state of a layer, from those of its output and
/// its last state, in this order; `backward` is the kernel, on contiguous tensors.
pub(super) fn fused_gradients(
    model: &Neuron,
    drive: &SpikingDrive,
    truncate: Option<i64>,
    state: &[Tensor],
    gradients: &[Option<Tensor>],
    wants_gain: bool,
    backward: impl FnOnce(BackwardTensors) -> Result<(), TchError>,
) -> Result<Vec<Option<Tensor>>, TchError> {
    let layout = Layout::of(drive.input, drive.bias.dim());
    let flat = |tensor: &Tensor| layout.in_memory_order(tensor);
    let [input, gain, bias] = [flat(drive.input)?, flat(drive.gain)?, flat(drive.bias)?];
    let learned = learned_in_memory_order(drive, layout)?;
    let state = state.iter().map(flat).collect::<Result<Vec<_>, _>>()?;
    let varying = drive.input.dim() == drive.bias.dim() + 2;
    let of_output = gradients.first().and_then(Option::as_ref);
    let mut gradient = match of_output {
        Some(gradient) => overwritable(gradient, layout)?,
        None => {
            let shape = state.first().map(Tensor::size).unwrap_or_default();
            Tensor::f_zeros([vec![drive.steps], shape].concat(), (input.kind(), input.device()))?
        }
    };
    let to_state = state.iter().zip(gradients.iter().skip(1)).map(|(state, gradient)| match gradient {
        Some(gradient) => flat(gradient)?.f_detach_copy(),
        None => state.f_zeros_like(),
    });
    let mut to_state = to_state.collect::<Result<Vec<_>, TchError>>()?;
    let mut to_input = (!varying).then(|| input.f_empty_like()).transpose()?;
    let mut to_gain = wants_gain.then(|| gain.f_empty_like()).transpose()?;
    let mut to_bias = bias.f_empty_like()?;
    let mut to_learned = learned.iter().map(Tensor::f_empty_like).collect::<Result<Vec<_>, _>>()?;
    backward(BackwardTensors {
        drive: [&input, &gain, &bias],
        learned: &learned,
        noise: drive.noise.filter(|_| model.is_noisy()).map(|noise| noise_rows(noise, layout, drive.bias)),
        steps: drive.steps,
        truncate,
        state: &state,
        gradient: &mut gradient,
        to_input: to_input.as_mut(),
        to_state: &mut to_state,
        to_gain: to_gain.as_mut(),
        to_bias: &mut to_bias,
        to_learned: &mut to_learned,
    })?;

    let back = |tensor: &Tensor| layout.in_shape_order(tensor);
    let mut all = vec![Some(back(to_input.as_ref().unwrap_or(&gradient))?)];
    all.push(to_gain.as_ref().map(back).transpose()?);
    all.push(Some(back(&to_bias)?));
    for (gradient, parameter) in to_learned.iter().zip(drive.learned) {
        let one = parameter.numel() == 1;
        let gradient = if one { gradient.f_sum(gradient.kind())? } else { back(gradient)? };
        all.push(Some(gradient.f_reshape(parameter.size())?));
    }
    for gradient in &to_state {
        all.push(Some(back(gradient)?));
    }
    Ok(all)
}

/// The gradient in memory order, where it may be overwritten: a copy if somebody else holds it.
fn overwritable(gradient: &Tensor, layout: Layout) -> Result<Tensor, TchError> {
    // Checked first: a view counts as a reference to the memory.
    let disposable = autograd::is_disposable(gradient);
    let ordered = layout.in_memory_order(gradient)?;
    let shared = ordered.data_ptr() == gradient.data_ptr() && !disposable;
    if shared { ordered.f_detach_copy() } else { Ok(ordered) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::on_host;
    use crate::operation::{DriveNoise, through_time};
    use tch::Kind;
    use tch_spiking_core::kernels::NoiseKey;
    use tch_spiking_core::surrogate::Surrogate;

    const STEPS: i64 = 37;
    const DT: f64 = 0.001;
    const SURROGATE: Surrogate = Surrogate::Atan { alpha: 2.0 };

    fn mixed(low: f64, high: f64, shape: &[i64]) -> Tensor {
        on_host::mixed(low, high, shape, Kind::Double)
    }

    /// Compares the kernel of CUDA, run on the host, with what the CPU computes, for images with channels last or first.
    fn compare(model: &Neuron, host: &on_host::Host, varying: bool, channels_last: bool) {
        let neurons = [3_i64, 4, 5];
        let images = [vec![2], neurons.to_vec()].concat();
        let shape = if varying { [vec![STEPS], images.clone()].concat() } else { images.clone() };
        let input = mixed(-1.0, 2.0, &shape);
        let input = match channels_last {
            true => input.movedim_int(-3, -1).contiguous().movedim_int(-1, -3),
            false => input,
        };
        let (gain, bias) = (mixed(0.5, 2.0, &neurons), mixed(0.0, 1.0, &neurons));
        let learned = [mixed(0.8, 0.9, &neurons), mixed(0.9, 0.95, &[1])];
        let state: Vec<Tensor> = (0..3).map(|variable| mixed(0.0, 0.5 / (variable as f64 + 1.0), &images)).collect();
        let variables: Vec<Tensor> = [&input, &gain, &bias]
            .into_iter()
            .chain(&learned)
            .chain(&state)
            .map(|tensor| tensor.detach().set_requires_grad(true))
            .collect();
        let noise = Some(DriveNoise { key: NoiseKey::new(1, 2), first_sample: 3, first_step: 4 });
        let given = [mixed(-DT, DT, &[vec![STEPS], images.clone()].concat()), mixed(-1.0, 1.0, &images)];
        let truncate = Some(16);

        let mut now: Vec<Tensor> = variables[5..].iter().map(Tensor::shallow_clone).collect();
        let drive = SpikingDrive {
            learned: &variables[3..5],
            noise,
            ..SpikingDrive::new(&variables[0], &variables[1], &variables[2], STEPS, DT)
        };
        let output = through_time(model, &drive, &mut now, &SURROGATE, truncate).unwrap().output;
        let loss = (output * &given[0]).sum(Kind::Double) + (&now[0] * &given[1]).sum(Kind::Double);
        let theirs = Tensor::run_backward(&[loss], &variables, false, false);

        let drive = SpikingDrive { learned: &learned, noise, ..SpikingDrive::new(&input, &gain, &bias, STEPS, DT) };
        let [of_output, of_voltage] = given.map(Some);
        let gradients = [of_output, of_voltage, None, None];
        let ours = fused_gradients(model, &drive, truncate, &state, &gradients, true, |tensors| {
            host.run_backward(model, tensors)
        });
        let ours = ours.unwrap();
        for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let ours = ours.as_ref().unwrap();
            assert_eq!(ours.size(), theirs.size());
            let error = (ours - theirs).abs().max().double_value(&[]);
            let largest = theirs.abs().max().double_value(&[]);
            assert!(error <= 1e-11 * largest.max(1e-12), "{varying} {channels_last} {index}: {error} of {largest}");
        }
    }

    #[test]
    fn gradients_are_those_of_the_processor_in_any_memory_order() {
        let model = Neuron::new(on_host::Sample {});
        let Some(host) = on_host::Host::of_backward(&model, DT, &SURROGATE) else { return };
        for (varying, channels_last) in [(true, true), (false, true), (true, false)] {
            compare(&model, &host, varying, channels_last);
        }
    }
}
