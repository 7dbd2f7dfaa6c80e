//! What parameters a specification asks for, without building anything.

use super::WeightsError;
use crate::network::shape::{output_shape, show};
use crate::network::{LayerKind, NetworkSpec};

/// More elements than any layer has; far below where sizes overflow.
const MAX_ELEMENTS: i64 = 1 << 40;

/// Names and shapes of the parameters of the network that `spec`, from a file, describes.
///
/// Building comes after these fit the file's tensors, since a file may describe a network far larger than itself.
pub(super) fn parameter_shapes(spec: &NetworkSpec) -> Result<Vec<(String, Vec<i64>)>, WeightsError> {
    let mut parameters = Vec::new();
    let mut shape = within_bounds(spec.input.clone()).map_err(|cause| invalid(format!("input: {cause}")))?;
    for (layer, name) in spec.layers.iter().zip(spec.layer_names()) {
        let fail = |cause| invalid(format!("{name}: {cause}"));
        let output = output_shape(&layer.kind, &shape).and_then(within_bounds).map_err(fail)?;
        let mut add = |parameter, shape| parameters.push((format!("{name}.{parameter}"), shape));
        match &layer.kind {
            LayerKind::Conv2d(conv) => {
                add("weight", vec![conv.out_channels, shape[0] / conv.groups, conv.kernel.0, conv.kernel.1]);
                if conv.bias {
                    add("bias", vec![conv.out_channels]);
                }
            }
            LayerKind::Linear(linear) => {
                add("weight", vec![linear.out_features, shape[0]]);
                if linear.bias {
                    add("bias", vec![linear.out_features]);
                }
            }
            LayerKind::BatchNorm(norm) => norm.names().iter().for_each(|name| add(name, vec![shape[0]])),
            LayerKind::Neuron(_) => add("bias", output.clone()),
            _ => {}
        }
        shape = output;
    }
    Ok(parameters)
}

fn within_bounds(shape: Vec<i64>) -> Result<Vec<i64>, String> {
    let count = shape.iter().try_fold(1_i64, |count, &size| count.checked_mul(size).filter(|_| size > 0));
    match count {
        Some(count) if count <= MAX_ELEMENTS => Ok(shape),
        _ => Err(format!("{} is no size of images that can be computed with", show(&shape))),
    }
}

fn invalid(cause: String) -> WeightsError {
    WeightsError::Metadata { key: "spec".to_string(), cause }
}
