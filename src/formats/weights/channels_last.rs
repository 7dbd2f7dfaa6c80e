//! Converts tensors between channels last (Keras, NengoDL) and the layout of this library.
//!
//! | parameter | channels last | here |
//! |---|---|---|
//! | weight of a convolution | `[kh, kw, in, out]` | `[out, in, kh, kw]` |
//! | weight of a linear layer | `[in, out]` | `[out, in]` |
//! | one value per neuron or feature | `[H, W, C]` | `[C, H, W]` |
//!
//! Behind a flattened image, features are in the order `H, W, C` there and `C, H, W` here.

use tch::{TchError, Tensor};

use crate::network::{LayerKind, SpikingSequential};

/// The layout conversion of a parameter.
pub(super) struct ChannelsLast {
    /// The shape in the other program.
    pub shape: Vec<i64>,
    /// The shape with flattened dimensions separated.
    apart: Vec<i64>,
    /// The order of these dimensions in this library.
    order: Vec<i64>,
    /// The shape in this library.
    ours: Vec<i64>,
}

impl ChannelsLast {
    /// Returns the conversion of the parameter `leaf` of the layer at `index`, which has the shape `ours`.
    pub(super) fn of(network: &SpikingSequential, index: usize, leaf: &str, ours: &[i64]) -> Self {
        let permuted = |shape: Vec<i64>, apart: Vec<i64>, order: &[i64]| Self {
            shape,
            apart,
            order: order.to_vec(),
            ours: ours.to_vec(),
        };
        let image = flattened_image(network, index);
        match (&network.layers()[index].kind(), leaf, ours) {
            (LayerKind::Conv2d(_), "weight", &[out, channels, height, width]) => {
                let shape = vec![height, width, channels, out];
                permuted(shape.clone(), shape, &[3, 2, 0, 1])
            }
            (LayerKind::Linear(_), "weight", &[out, features]) => match image {
                Some([c, h, w]) => permuted(vec![features, out], vec![h, w, c, out], &[3, 2, 0, 1]),
                None => permuted(vec![features, out], vec![features, out], &[1, 0]),
            },
            (LayerKind::Linear(_), ..) => permuted(ours.to_vec(), ours.to_vec(), &[0]),
            (_, _, &[c, h, w]) => permuted(vec![h, w, c], vec![h, w, c], &[2, 0, 1]),
            (_, _, &[features]) if image.is_some_and(|[c, h, w]| c * h * w == features) => {
                let [c, h, w] = image.unwrap_or_default();
                permuted(vec![features], vec![h, w, c], &[2, 0, 1])
            }
            _ => permuted(ours.to_vec(), ours.to_vec(), &(0..ours.len() as i64).collect::<Vec<_>>()),
        }
    }

    /// Converts from channels last; `tensor` has as many elements.
    pub(super) fn read(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        tensor.f_reshape(&self.apart)?.f_permute(&self.order)?.f_reshape(&self.ours)
    }

    /// Converts to channels last.
    pub(super) fn write(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        let here: Vec<i64> = self.order.iter().map(|&dimension| self.apart[dimension as usize]).collect();
        let mut back = vec![0; here.len()];
        self.order.iter().enumerate().for_each(|(place, &dimension)| back[dimension as usize] = place as i64);
        tensor.f_reshape(&here)?.f_permute(&back)?.f_reshape(&self.shape)
    }
}

/// Returns the shape of the image that was flattened into the features that the layer at `index` reads.
fn flattened_image(network: &SpikingSequential, index: usize) -> Option<[i64; 3]> {
    let layers = network.layers();
    let before = layers[..index]
        .iter()
        .rposition(|layer| matches!(layer.kind(), LayerKind::Linear(_) | LayerKind::Flatten | LayerKind::Custom(_)))?;
    if !matches!(layers[before].kind(), LayerKind::Flatten) {
        return None;
    }
    let image = before.checked_sub(1).map_or(network.spec().input.as_slice(), |image| layers[image].output_shape());
    image.try_into().ok()
}
