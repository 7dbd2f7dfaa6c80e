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

use super::WeightsError;
use crate::network::{Edge, Layer, LayerKind, Origin, SpikingSequential};

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
    /// Of the parameter `leaf` of the layer at `index`, which has the shape `ours`.
    ///
    /// # Errors
    /// [`WeightsError::MixedFeatures`], where the order of the features in the other program is not known.
    pub(super) fn of(
        network: &SpikingSequential,
        index: usize,
        leaf: &str,
        ours: &[i64],
    ) -> Result<Self, WeightsError> {
        let layer = &network.layers()[index];
        let permuted = |shape: Vec<i64>, apart: Vec<i64>, order: &[i64]| Self {
            shape,
            apart,
            order: order.to_vec(),
            ours: ours.to_vec(),
        };
        let image = match Features::into(network, index) {
            Features::Plain => None,
            Features::Flattened(image) => Some(image),
            Features::Mixed if ours.len() > 2 || layer.kind().type_name() == "linear" && leaf == "bias" => None,
            Features::Mixed => return Err(WeightsError::MixedFeatures { layer: layer.name().to_string() }),
        };
        Ok(match (layer.kind(), leaf, ours) {
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
        })
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

/// What the numbers of a signal are, as far as their order is concerned.
#[derive(Clone, Copy, PartialEq)]
enum Features {
    /// In the same order in both programs.
    Plain,
    /// An image, flattened.
    Flattened([i64; 3]),
    /// Of several layers, in different orders.
    Mixed,
}

impl Features {
    /// What the layer at `index` gets.
    fn into(network: &SpikingSequential, index: usize) -> Self {
        let layers = network.layers();
        let mut known = Vec::with_capacity(index);
        for layer in &layers[..index] {
            let features = match layer.kind() {
                LayerKind::Linear(_) | LayerKind::Custom(_) => Self::Plain,
                LayerKind::Flatten => Self::flattened(network, layer),
                _ => Self::together(layer, &known),
            };
            known.push(features);
        }
        Self::together(&layers[index], &known)
    }

    fn flattened(network: &SpikingSequential, layer: &Layer) -> Self {
        let shape = match layer.inputs().first().map(|edge| edge.from) {
            Some(Origin::Node(index)) => network.layers()[index].output_shape(),
            Some(Origin::Input) | None => network.spec().input.as_slice(),
        };
        shape.try_into().map_or(Self::Plain, Self::Flattened)
    }

    /// Of all inputs of `layer`; `known` are the outputs of the layers before it.
    fn together(layer: &Layer, known: &[Self]) -> Self {
        let of = |edge: &Edge| match edge.from {
            Origin::Node(index) if !edge.delayed => known.get(index).copied().unwrap_or(Self::Plain),
            Origin::Node(_) | Origin::Input => Self::Plain,
        };
        let mut inputs = layer.inputs().iter().map(of);
        let first = inputs.next().unwrap_or(Self::Plain);
        let side_by_side = matches!(layer.kind(), LayerKind::Concat) && first != Self::Plain;
        if side_by_side || inputs.any(|other| other != first) { Self::Mixed } else { first }
    }
}
