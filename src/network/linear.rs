//! The product of the linear layer, in the fastest way that libtorch has on this device.

use tch::{Device, Kind, TchError, Tensor};

/// Number of products below which the choice hardly matters.
const SMALL: usize = 1 << 16;

/// Computes `input weight^T + bias`: `[B, features]`, `[outputs, features]`, `[outputs]` to `[B, outputs]`.
///
/// In `Float` on the CPU it is computed as a 1 x 1 convolution over an image of `B` pixels, which libtorch delegates to
/// oneDNN: twice as fast on CPUs for which MKL, its library for matrix products, is not optimised.
///
/// # Errors
/// Returns an error if shapes, dtypes or devices do not match.
pub fn linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    let (&[images, features], &[outputs, columns]) = (input.size().as_slice(), weight.size().as_slice()) else {
        return input.f_linear(weight, bias);
    };
    let fits = features == columns && images > 1 && input.numel() * outputs.unsigned_abs() as usize >= SMALL;
    if !fits || input.device() != Device::Cpu || input.kind() != Kind::Float || weight.kind() != Kind::Float {
        return input.f_linear(weight, bias);
    }
    // Channels last, so that no data is moved: a pixel's channels are a sample's features.
    let pixels = input.f_contiguous()?.f_view([1, 1, images, features])?.f_permute([0, 3, 1, 2])?;
    let kernel = weight.f_contiguous()?.f_view([outputs, 1, 1, features])?.f_permute([0, 3, 1, 2])?;
    let output = pixels.f_conv2d(&kernel, bias, [1, 1], [0, 0], [1, 1], 1)?;
    output.f_permute([0, 2, 3, 1])?.f_reshape([images, outputs])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_product_of_libtorch_with_its_gradients() {
        let numbers = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        for (images, features, outputs) in [(1, 30, 4), (2, 300, 200), (64, 70, 90), (7, 513, 129)] {
            let (input, weight) = (numbers([images, features]), numbers([outputs, features]));
            let bias = Tensor::randn([outputs], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let output_gradient = Tensor::randn([images, outputs], (Kind::Float, Device::Cpu));
            let gradients = |output: &Tensor| {
                let loss = (output * &output_gradient).sum(Kind::Float);
                Tensor::run_backward(&[loss], &[&input, &weight, &bias], false, false)
            };
            let ours = linear(&input, &weight, Some(&bias)).unwrap();
            let theirs = input.linear(&weight, Some(&bias));
            assert!(ours.allclose(&theirs, 1e-4, 1e-4, false));
            for (ours, theirs) in gradients(&ours).iter().zip(gradients(&theirs)) {
                assert!(ours.allclose(&theirs, 1e-4, 1e-3, false));
            }
        }
    }
}
