//! The rate as a custom operation with a custom gradient.

use tch::{Device, Kind, TchError, Tensor};

use super::dynamic::check_drive;
use super::{Formula, Layout, NeuronModel};
use crate::autograd;
use crate::error::Result;
use crate::kernels::{self, Drive, Element};

/// `rate(gain * input + bias)`, differentiable in `input` and `bias`: fused kernels for `f32` and `f64` on the CPU, the
/// same formula in tensor operations elsewhere.
pub(super) fn rate<M: NeuronModel>(model: &M, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor> {
    check_drive::<M>(input, gain, bias)?;
    Ok(match (input.device(), input.kind()) {
        (Device::Cpu, Kind::Float) => fused::<M, f32>(model, input, gain, bias)?,
        (Device::Cpu, Kind::Double) => fused::<M, f64>(model, input, gain, bias)?,
        _ => with_tensors(model, input, gain, bias)?,
    })
}

fn fused<M: NeuronModel, R: Element>(
    model: &M,
    input: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
) -> Result<Tensor, TchError> {
    let layout = Layout::of(input, bias.dim());
    let without_gradient = tch::no_grad_guard();
    let saved = [input, gain, bias].map(|tensor| layout.in_memory_order(&tensor.detach()));
    let [flat_input, flat_gain, flat_bias] = saved;
    let (flat_input, flat_gain, flat_bias) = (flat_input?, flat_gain?, flat_bias?);
    let mut flat_output = flat_input.f_empty_like()?;
    kernels::rate_forward(
        model,
        drive::<R>(&flat_input, &flat_gain, &flat_bias)?,
        kernels::elements_mut(&mut flat_output)?,
    );
    let output = layout.in_shape_order(&flat_output)?;
    drop(without_gradient);

    let model = model.clone();
    autograd::attach(M::NAME, &[input, bias], &[&output], move |gradients| {
        let Some(gradient) = &gradients[0] else { return Ok(vec![None, None]) };
        let gradient = layout.in_memory_order(gradient)?;
        let mut to_input = flat_input.f_empty_like()?;
        let mut to_bias = flat_bias.f_empty_like()?;
        kernels::rate_backward(
            &model,
            drive::<R>(&flat_input, &flat_gain, &flat_bias)?,
            kernels::elements(&gradient)?,
            kernels::elements_mut(&mut to_input)?,
            kernels::elements_mut(&mut to_bias)?,
        );
        Ok(vec![Some(layout.in_shape_order(&to_input)?), Some(layout.in_shape_order(&to_bias)?)])
    })?;
    Ok(output)
}

fn drive<'a, R: Element>(input: &'a Tensor, gain: &'a Tensor, bias: &'a Tensor) -> Result<Drive<'a, R>, TchError> {
    Ok(Drive { input: kernels::elements(input)?, gain: kernels::elements(gain)?, bias: kernels::elements(bias)? })
}

fn with_tensors<M: NeuronModel>(model: &M, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
    let formula = Formula::record(1, |current| {
        let rate = model.rate(current[0]);
        vec![rate.value, rate.derivative]
    });
    let without_gradient = tch::no_grad_guard();
    let gain = gain.detach();
    let current = input.detach().f_mul(&gain)?.f_add(&bias.detach())?;
    let mut results = formula.evaluate(&[&current])?;
    let (derivative, output) = (results.remove(1), results.remove(0));
    drop(without_gradient);

    let leading: Vec<i64> = (0..(input.dim() - bias.dim()) as i64).collect();
    let kind = input.kind();
    autograd::attach(M::NAME, &[input, bias], &[&output], move |gradients| {
        let Some(gradient) = &gradients[0] else { return Ok(vec![None, None]) };
        let to_current = gradient.f_mul(&derivative)?;
        let to_bias = match leading.as_slice() {
            [] => to_current.shallow_clone(),
            leading => to_current.f_sum_dim_intlist(leading, false, kind)?,
        };
        Ok(vec![Some(to_current.f_mul(&gain)?), Some(to_bias)])
    })?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neuron::{Lif, RectifiedLinear};

    fn value_and_gradients(output: &Tensor, of: [&Tensor; 2]) -> [Tensor; 3] {
        let weights = Tensor::arange(output.numel() as i64, (output.kind(), output.device())).reshape_as(output).sin();
        let gradients = Tensor::run_backward(&[(output * weights).sum(output.kind())], &of, false, false);
        [output.detach(), gradients[0].shallow_clone(), gradients[1].shallow_clone()]
    }

    fn compare<M: NeuronModel>(model: &M, kind: Kind, channels_last: bool) {
        let options = (kind, Device::Cpu);
        let mut input = Tensor::linspace(-3.0, 4.0, 2 * 3 * 5 * 7, options).reshape([2, 3, 5, 7]);
        if channels_last {
            input = input.movedim_int(-3, -1).contiguous().movedim_int(-1, -3);
        }
        let input = input.set_requires_grad(true);
        let bias = Tensor::linspace(0.5, 1.5, 105, options).reshape([3, 5, 7]).set_requires_grad(true);
        let gain = Tensor::linspace(0.8, 1.2, 105, options).reshape([3, 5, 7]);
        let ours = rate(model, &input, &gain, &bias).unwrap();
        let theirs = with_tensors(model, &input, &gain, &bias).unwrap();
        assert_eq!(ours.stride(), input.stride());
        let tolerance = if kind == Kind::Double { 1e-11 } else { 2e-4 };
        let all =
            value_and_gradients(&ours, [&input, &bias]).into_iter().zip(value_and_gradients(&theirs, [&input, &bias]));
        for (ours, theirs) in all {
            assert!(ours.allclose(&theirs, tolerance, 1e-6, false), "{ours} {theirs}");
        }
    }

    #[test]
    fn kernels_and_tensor_operations_agree() {
        for kind in [Kind::Float, Kind::Double] {
            for channels_last in [false, true] {
                compare(&Lif::default(), kind, channels_last);
                compare(&Lif { smoothing: 0.1, amplitude: 0.01, ..Lif::default() }, kind, channels_last);
                compare(&RectifiedLinear::default(), kind, channels_last);
            }
        }
    }
}
