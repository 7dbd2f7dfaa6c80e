//! Output shapes of layers.

use super::{BatchNorm, Conv2d, LayerKind, Pool};

/// Computes the output shape of one sample for a layer with the shapes `inputs` (one, except for layers that accept
/// several).
pub(super) fn output_shape(kind: &LayerKind, inputs: &[&[i64]]) -> Result<Vec<i64>, String> {
    let &[input, ..] = inputs else { return Err("it has no input".to_string()) };
    match kind {
        LayerKind::Conv2d(layer) => conv2d(layer, input),
        LayerKind::Linear(layer) => {
            positive("out_features", layer.out_features)?;
            match input {
                [features] if *features > 0 => Ok(vec![layer.out_features]),
                _ => Err(format!("expected one dimension, got {}: put a flatten layer before it", show(input))),
            }
        }
        LayerKind::AvgPool(layer) | LayerKind::MaxPool(layer) => pool(layer, input),
        LayerKind::Flatten => {
            let features = input.iter().try_fold(1_i64, |count, &size| count.checked_mul(size));
            Ok(vec![features.ok_or_else(|| format!("{} has too many elements", show(input)))?])
        }
        LayerKind::LeakyRelu(layer) if !layer.negative_slope.is_finite() => {
            Err(format!("negative_slope = {} is not valid: expected a number", layer.negative_slope))
        }
        LayerKind::Scale(layer) if !layer.weight.is_finite() => {
            Err(format!("weight = {} is not valid: expected a number", layer.weight))
        }
        LayerKind::BatchNorm(layer) => batch_norm(*layer, input),
        LayerKind::Standardize(layer) => layer.output_shape(input),
        LayerKind::Dropout(layer) if !(0.0..1.0).contains(&layer.p) => {
            Err(format!("p = {} is not valid: expected a probability of 0 or more and below 1", layer.p))
        }
        LayerKind::Synapse(synapse) => synapse.validate().map(|()| input.to_vec()),
        LayerKind::Add => match inputs.iter().find(|other| **other != input) {
            Some(other) => Err(format!("its inputs are {} and {}: expected one shape", show(input), show(other))),
            None => Ok(input.to_vec()),
        },
        LayerKind::Concat => concat(inputs),
        LayerKind::Custom(custom) => custom.output_shape(inputs),
        LayerKind::Relu
        | LayerKind::LeakyRelu(_)
        | LayerKind::Scale(_)
        | LayerKind::Dropout(_)
        | LayerKind::Neuron(_) => Ok(input.to_vec()),
    }
}

fn concat(inputs: &[&[i64]]) -> Result<Vec<i64>, String> {
    let first = inputs[0];
    if let Some(other) = inputs.iter().find(|other| other.len() != first.len() || other[1..] != first[1..]) {
        let expected = "expected shapes that differ in the first dimension only";
        return Err(format!("its inputs are {} and {}: {expected}", show(first), show(other)));
    }
    let sum = inputs.iter().try_fold(0_i64, |sum, shape| sum.checked_add(shape[0]));
    let sum = sum.ok_or_else(|| "its inputs have too many channels".to_string())?;
    Ok([&[sum], &first[1..]].concat())
}

fn batch_norm(layer: BatchNorm, input: &[i64]) -> Result<Vec<i64>, String> {
    if !(0.0..=1e30).contains(&layer.eps) {
        return Err(format!("eps = {} is not valid: expected 0 or a small positive number", layer.eps));
    }
    if !(0.0..=1.0).contains(&layer.momentum) {
        return Err(format!("momentum = {} is not valid: expected a number from 0 to 1", layer.momentum));
    }
    match input.len() {
        1 | 3 => Ok(input.to_vec()),
        _ => Err(format!("expected channels x height x width, or features, got {}", show(input))),
    }
}

fn conv2d(layer: &Conv2d, input: &[i64]) -> Result<Vec<i64>, String> {
    let &[channels, height, width] = input else { return Err(not_an_image(input)) };
    positive("out_channels", layer.out_channels)?;
    positive("groups", layer.groups)?;
    for (name, pair) in [("kernel", layer.kernel), ("stride", layer.stride), ("dilation", layer.dilation)] {
        positive(name, pair.0.min(pair.1))?;
    }
    if !layer.padding.all(|padding| padding >= 0) {
        return Err(format!("padding {:?} is not valid: expected 0 or more", layer.padding.to_array()));
    }
    if channels % layer.groups != 0 || layer.out_channels % layer.groups != 0 {
        return Err(format!(
            "{} groups do not divide {channels} input and {} output channels",
            layer.groups, layer.out_channels
        ));
    }
    // The kernel's extent with its gaps.
    let extent = |kernel: i64, dilation: i64| dilation.checked_mul(kernel - 1).map(|reach| reach.saturating_add(1));
    let (Some(tall), Some(wide)) = (extent(layer.kernel.0, layer.dilation.0), extent(layer.kernel.1, layer.dilation.1))
    else {
        return Err("kernel and dilation are too large".to_string());
    };
    let size = windows([height, width], [tall, wide], layer.stride.to_array(), layer.padding.to_array())?;
    Ok(vec![layer.out_channels, size[0], size[1]])
}

fn pool(layer: &Pool, input: &[i64]) -> Result<Vec<i64>, String> {
    let &[channels, height, width] = input else { return Err(not_an_image(input)) };
    let stride = layer.step();
    positive("kernel", layer.kernel.0.min(layer.kernel.1))?;
    positive("stride", stride.0.min(stride.1))?;
    let half = |padding: i64, kernel: i64| (0..=kernel / 2).contains(&padding);
    if !half(layer.padding.0, layer.kernel.0) || !half(layer.padding.1, layer.kernel.1) {
        return Err(format!("padding {:?} is not valid: expected 0 to half the kernel", layer.padding.to_array()));
    }
    let size = windows([height, width], layer.kernel.to_array(), stride.to_array(), layer.padding.to_array())?;
    Ok(vec![channels, size[0], size[1]])
}

fn windows(input: [i64; 2], kernel: [i64; 2], stride: [i64; 2], padding: [i64; 2]) -> Result<[i64; 2], String> {
    let padded: [i64; 2] = std::array::from_fn(|i| input[i].saturating_add(padding[i].saturating_mul(2)));
    if padded[0] < kernel[0] || padded[1] < kernel[1] {
        let with_padding = if padding == [0, 0] { "" } else { " with padding" };
        return Err(format!(
            "input {}x{}{with_padding} is smaller than the {}x{} kernel",
            padded[0], padded[1], kernel[0], kernel[1]
        ));
    }
    Ok(std::array::from_fn(|i| (padded[i] - kernel[i]) / stride[i] + 1))
}

fn positive(name: &str, value: i64) -> Result<(), String> {
    if value >= 1 { Ok(()) } else { Err(format!("{name} = {value} is not valid: expected 1 or more")) }
}

fn not_an_image(input: &[i64]) -> String {
    format!("expected an image of channels x height x width, got {}", show(input))
}

/// Formats a shape as `1x28x28`.
pub fn show(shape: &[i64]) -> String {
    shape.iter().map(i64::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Linear;

    #[test]
    fn shapes_are_those_of_valid_windows() {
        let shape = |layer: &Conv2d, input: &[i64]| conv2d(layer, input);
        assert_eq!(shape(&Conv2d::new(32, 3), &[1, 28, 28]), Ok(vec![32, 26, 26]));
        assert_eq!(shape(&Conv2d::new(64, 3).stride(2), &[32, 26, 26]), Ok(vec![64, 12, 12]));
        assert_eq!(shape(&Conv2d::new(8, [1, 5]).padding([0, 2]), &[3, 4, 6]), Ok(vec![8, 4, 6]));
        let dilated = Conv2d { dilation: 2.into(), ..Conv2d::new(8, 3) };
        assert_eq!(shape(&dilated, &[3, 9, 9]), Ok(vec![8, 5, 5]));
        assert_eq!(pool(&Pool::new(2), &[4, 13, 12]), Ok(vec![4, 6, 6]));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let cause = |kind: LayerKind, input: &[i64]| output_shape(&kind, &[input]).unwrap_err();
        assert_eq!(cause(LayerKind::Conv2d(Conv2d::new(8, 7)), &[1, 5, 5]), "input 5x5 is smaller than the 7x7 kernel");
        assert!(cause(LayerKind::Linear(Linear::new(10)), &[8, 5, 5]).contains("flatten"));
        assert!(cause(LayerKind::Conv2d(Conv2d::new(0, 3)), &[1, 5, 5]).contains("out_channels = 0"));
        assert!(cause(LayerKind::Conv2d(Conv2d { groups: 2, ..Conv2d::new(8, 3) }), &[3, 5, 5]).contains("groups"));
        assert!(cause(LayerKind::Conv2d(Conv2d::new(8, i64::MAX)), &[3, 5, 5]).contains("kernel"));
        assert!(cause(LayerKind::AvgPool(Pool { padding: 2.into(), ..Pool::new(2) }), &[3, 5, 5]).contains("padding"));
    }
}
