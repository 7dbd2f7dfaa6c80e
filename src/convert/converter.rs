//! What is to be done, and what came of it.

use std::collections::BTreeMap;

use serde::Serialize;
use tch::nn::VarStore;

use super::rewrite::Rewrite;
use super::{Calibration, CalibrationTarget, ConvertError, Swap, calibrate};
use crate::error::Result;
use crate::formats::weights::load_into;
use crate::network::{Layer, LayerKind, LayerSpec, NetworkSpec, SpikingSequential};

/// Turns a trained network of analog activations into one of neurons, which runs as rates and as spikes.
///
/// ReLUs become neurons, batch normalisation is folded into the weights before it, dropout goes. With its default, spiking
/// rectified-linear neurons, the new network's rates are those of the old one; its spikes come close to them the more of
/// them there are: raise them with [`scale_firing_rates`](Self::scale_firing_rates) or
/// [`calibrate`](Self::calibrate), or smooth them with [`synapse`](Self::synapse).
///
/// ```
/// use tch::{Device, Kind, Tensor, nn};
/// use tch_spiking::convert::Converter;
/// use tch_spiking::network::{Builder, Conv2d};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let trained = Builder::new([1, 8, 8]).layer(Conv2d::new(4, 3)).batch_norm().relu().flatten().linear(10).build(&vs.root(), 0)?;
/// let converted = Converter::new().scale_firing_rates(10.0).synapse(0.01).convert(&trained)?;
///
/// let image = Tensor::ones([1, 1, 8, 8], (Kind::Float, Device::Cpu));
/// let difference = trained.forward_rates(&image)? - converted.network.forward_rates(&image)?;
/// assert!(difference.abs().max().double_value(&[]) < 1e-5);
/// let spikes = converted.network.simulate(&image, 30, &[])?;
/// # Ok::<(), tch_spiking::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Converter {
    swaps: Vec<Swap>,
    scale: Option<f64>,
    layer_scales: Vec<(String, f64)>,
    pub(super) synapse: Option<f64>,
    pub(super) max_to_avg_pool: bool,
}

/// A converted network.
#[derive(Debug)]
pub struct Converted {
    /// The network: of the kind, on the device and of the seed of its source.
    pub network: SpikingSequential,
    /// The store of its parameters.
    pub vs: VarStore,
    /// What was done, layer by layer.
    pub changes: Vec<Change>,
}

/// What was done to a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The layer's name.
    pub layer: String,
    /// The type that it had.
    pub kind: String,
    /// What became of it.
    pub action: String,
}

impl Converter {
    /// Every ReLU to spiking rectified-linear neurons, and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// Other neurons for a layer, or for all of a type. One for a layer goes before one for its type, a later one before an
    /// earlier one.
    pub fn swap(mut self, swap: Swap) -> Self {
        self.swaps.push(swap);
        self
    }

    /// All neurons spike `scale` times as often and each spike counts for so much less
    /// ([`NeuronSpec::firing_rate_scale`](crate::network::NeuronSpec::firing_rate_scale)): exact for rectified-linear ones.
    pub fn scale_firing_rates(self, scale: f64) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// The same for one layer of neurons: `layer` is its name, or that of the layer whose weights drive it.
    pub fn scale_layer(mut self, layer: impl Into<String>, scale: f64) -> Self {
        self.layer_scales.push((layer.into(), scale));
        self
    }

    /// A lowpass filter of time constant `tau` (s) behind every layer of neurons that has no filter yet.
    pub fn synapse(self, tau: f64) -> Self {
        Self { synapse: Some(tau), ..self }
    }

    /// Means in the place of maxima over windows. (The maximum of spikes is not that of their rates.)
    pub fn max_to_avg_pool(self) -> Self {
        Self { max_to_avg_pool: true, ..self }
    }

    /// The converted network; the source stays as it is.
    ///
    /// # Errors
    /// Naming the layer that cannot be converted and what to use instead; or if a swap or scale is for something that
    /// the network does not have.
    pub fn convert(&self, source: &SpikingSequential) -> Result<Converted> {
        let _without_gradient = tch::no_grad_guard();
        let Rewrite { pieces, changes, .. } = Rewrite::new(self, source)?;
        let layers = |named: bool| -> Vec<LayerSpec> {
            let layer = |piece: &super::rewrite::Piece| LayerSpec {
                name: named.then(|| piece.name.clone()),
                kind: piece.kind.clone(),
            };
            pieces.iter().map(layer).collect()
        };
        // Only names that the layers would not have anyway are written down.
        let usual = NetworkSpec { layers: layers(false), ..source.spec().clone() }.layer_names();
        let mut spec = NetworkSpec { layers: layers(true), ..source.spec().clone() };
        for (layer, usual) in spec.layers.iter_mut().zip(usual) {
            layer.name = layer.name.take().filter(|name| *name != usual);
        }
        let mut vs = VarStore::new(source.device());
        vs.set_kind(source.kind());
        let network = SpikingSequential::new(&vs.root(), &spec, source.seed())?;
        let mut tensors: BTreeMap<_, _> = network.named_parameters().into_iter().collect();
        for piece in pieces {
            let named = piece.tensors.into_iter().map(|(name, tensor)| (format!("{}.{name}", piece.name), tensor));
            tensors.extend(named);
        }
        load_into(&network, &tensors)?;
        Ok(Converted { network, vs, changes })
    }

    /// The same with a scale of its own for every layer of neurons, such that the given percentile of its firing rates for
    /// `images` (`[B, input]`) is the target.
    ///
    /// # Errors
    /// As for [`convert`](Self::convert), and if the target is not valid or beyond what the neurons can fire.
    pub fn calibrate(
        &self,
        source: &SpikingSequential,
        images: &tch::Tensor,
        target: CalibrationTarget,
    ) -> Result<(Self, Vec<Calibration>)> {
        let plain = Self { layer_scales: Vec::new(), ..self.clone() }.scale_firing_rates(1.0).convert(source)?;
        let layers = calibrate::calibrate(&plain.network, images, target)?;
        let layer_scales = layers.iter().map(|layer| (layer.layer.clone(), layer.scale)).collect();
        Ok((Self { layer_scales, scale: None, ..self.clone() }, layers))
    }

    /// The swap for a layer: the last of those that name it, else of those that name its type.
    pub(super) fn swap_for(&self, layer: &Layer) -> Option<Swap> {
        let named = self.swaps.iter().rfind(|swap| swap.names(layer.name()));
        let typed = || self.swaps.iter().rfind(|swap| swap.names_type(layer.kind()));
        let usual = || Some(Swap::relu()).filter(|swap| swap.names_type(layer.kind()));
        named.or_else(typed).cloned().or_else(usual)
    }

    /// The scale for the neurons of this name, driven by the layer called `weights`.
    pub(super) fn scale_for(&self, layer: &str, weights: Option<&str>) -> Option<f64> {
        let of = |wanted: &str| self.layer_scales.iter().rfind(|(name, _)| name == wanted).map(|&(_, scale)| scale);
        of(layer).or_else(|| weights.and_then(of)).or(self.scale)
    }

    /// Checks that swaps and scales are for something that there is.
    pub(super) fn check_names(&self, source: &SpikingSequential) -> Result<(), ConvertError> {
        let activation =
            |layer: &&Layer| matches!(layer.kind(), LayerKind::Relu | LayerKind::LeakyRelu(_) | LayerKind::Neuron(_));
        let activations: Vec<&Layer> = source.layers().iter().filter(activation).collect();
        let listed = || match activations.is_empty() {
            true => "there are no activations and no neurons in this network".to_string(),
            false => {
                let names = activations.iter().map(|layer| format!("{} ({})", layer.name(), layer.kind().type_name()));
                format!("no such activation or neurons; there are {}", names.collect::<Vec<_>>().join(", "))
            }
        };
        let unused = |what, name: &str| ConvertError::Unused { what, name: name.to_string(), cause: listed() };
        for swap in &self.swaps {
            if !activations.iter().any(|layer| swap.names(layer.name()) || swap.names_type(layer.kind())) {
                return Err(unused("swap", &swap.from));
            }
        }
        let affine = |layer: &Layer| matches!(layer.kind(), LayerKind::Conv2d(_) | LayerKind::Linear(_));
        for (name, _) in &self.layer_scales {
            let position = source.layers().iter().position(|layer| layer.name() == name);
            let drives = |position: usize| {
                let mut next = source.layers()[position + 1..].iter();
                affine(&source.layers()[position])
                    && next.find(|layer| affine(layer) || activation(layer)).is_some_and(|layer| !affine(layer))
            };
            if !position.is_some_and(|position| activation(&&source.layers()[position]) || drives(position)) {
                return Err(unused("firing rate scale", name));
            }
        }
        Ok(())
    }
}
