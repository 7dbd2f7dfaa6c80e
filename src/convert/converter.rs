//! The converter and its result.

use std::collections::BTreeMap;

use serde::Serialize;
use tch::nn::VarStore;

use super::rewrite::{Piece, Rewrite};
use super::wiring::{Role, Wiring};
use super::{Calibration, CalibrationTarget, ConvertError, Swap, calibrate};
use crate::error::Result;
use crate::formats::weights::load_into;
use crate::network::{Layer, LayerSpec, NetworkSpec, SpikingSequential};

/// Converts a trained analog network to a spiking network, which runs as rates and as spikes.
///
/// ReLUs become neurons, batch normalisation is folded into the preceding weights, dropout is removed. By default, with
/// spiking rectified-linear neurons, the rates equal the outputs of the source. The more spikes there are, the closer
/// they approximate the rates: raise them with [`scale_firing_rates`](Self::scale_firing_rates) or
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

/// The result of a conversion.
#[derive(Debug)]
pub struct Converted {
    /// The network, with the kind, device and seed of its source.
    pub network: SpikingSequential,
    /// The variable store of its parameters.
    pub vs: VarStore,
    /// The changes, layer by layer.
    pub changes: Vec<Change>,
}

/// The change of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The layer's name.
    pub layer: String,
    /// Its original type.
    pub kind: String,
    /// A description of the change.
    pub action: String,
}

impl Converter {
    /// A converter that replaces every ReLU by spiking rectified-linear neurons.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the neurons for a layer, or for all layers of a type. A swap for a layer takes precedence over one for its
    /// type, a later one over an earlier one.
    pub fn swap(mut self, swap: Swap) -> Self {
        self.swaps.push(swap);
        self
    }

    /// Multiplies all firing rates by `scale` and divides the spike amplitudes by it
    /// ([`NeuronSpec::firing_rate_scale`](crate::network::NeuronSpec::firing_rate_scale)): exact for rectified-linear
    /// ones.
    pub fn scale_firing_rates(self, scale: f64) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// Sets the firing rate scale of one layer of neurons: `layer` is its name, or that of a layer whose weights drive
    /// it.
    pub fn scale_layer(mut self, layer: impl Into<String>, scale: f64) -> Self {
        self.layer_scales.push((layer.into(), scale));
        self
    }

    /// Adds a lowpass filter of time constant `tau` (s) after every layer of neurons without a filter.
    pub fn synapse(self, tau: f64) -> Self {
        Self { synapse: Some(tau), ..self }
    }

    /// Replaces max pooling by average pooling. (The maximum of spikes is not the maximum of their rates.)
    pub fn max_to_avg_pool(self) -> Self {
        Self { max_to_avg_pool: true, ..self }
    }

    /// Converts `source`, which is not changed.
    ///
    /// # Errors
    /// If a layer cannot be converted (the error names it and an alternative), or a swap or scale is for something that
    /// the network does not have.
    pub fn convert(&self, source: &SpikingSequential) -> Result<Converted> {
        let _without_gradient = tch::no_grad_guard();
        if let Some(layer) = source.layers().iter().find(|layer| layer.inputs().iter().any(|edge| edge.delayed)) {
            let (layer, kind) = (layer.name().to_string(), layer.kind().type_name().to_string());
            let cause = "it has a delayed input, and rates of constant images have no timestep before: expected a network without recurrence";
            return Err(ConvertError::Layer { layer, kind, cause: cause.to_string() }.into());
        }
        let Rewrite { pieces, changes, .. } = Rewrite::new(self, source)?;
        let layers = |named: bool| -> Vec<LayerSpec> {
            let layer = |(index, piece): (usize, &Piece)| LayerSpec {
                name: named.then(|| piece.name.clone()),
                from: if named { Piece::from(&pieces, index) } else { Vec::new() },
                kind: piece.kind.clone(),
            };
            pieces.iter().enumerate().map(layer).collect()
        };
        // Only names that differ from the default ones are stored.
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

    /// Converts `source` with a calibrated scale for every layer of neurons, such that the given percentile of its
    /// firing rates for `images` (`[B, input]`) is the target.
    ///
    /// # Errors
    /// As for [`convert`](Self::convert), and if the target is not valid or exceeds the maximum rate of the neurons.
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

    /// The scale for the neurons of this name, driven by the layers named `weights`.
    pub(super) fn scale_for(&self, layer: &str, weights: &[String]) -> Option<f64> {
        let own = self.layer_scales.iter().rfind(|(name, _)| name == layer);
        let scale = own.or_else(|| self.layer_scales.iter().rfind(|(name, _)| weights.contains(name)));
        scale.map(|&(_, scale)| scale).or(self.scale)
    }

    /// Checks that swaps and scales refer to existing layers.
    pub(super) fn check_names(&self, source: &SpikingSequential) -> Result<(), ConvertError> {
        let activations: Vec<&Layer> =
            source.layers().iter().filter(|layer| Role::of(layer) == Role::Activation).collect();
        let listed = || match activations.is_empty() {
            true => "this network has no activations and no neurons".to_string(),
            false => {
                let names = activations.iter().map(|layer| format!("{} ({})", layer.name(), layer.kind().type_name()));
                format!("no such activation or neurons; this network has {}", names.collect::<Vec<_>>().join(", "))
            }
        };
        let unused = |what, name: &str| ConvertError::Unused { what, name: name.to_string(), cause: listed() };
        for swap in &self.swaps {
            if !activations.iter().any(|layer| swap.names(layer.name()) || swap.names_type(layer.kind())) {
                return Err(unused("swap", &swap.from));
            }
        }
        let wiring = Wiring::new(source);
        let role = |position: usize| Role::of(&source.layers()[position]);
        let activated = |position: usize| match role(position) {
            Role::Activation => Some(true),
            Role::Weights => Some(false),
            Role::Filter | Role::Passage | Role::Other => None,
        };
        for (name, _) in &self.layer_scales {
            let position = source.layers().iter().position(|layer| layer.name() == name);
            let has_neurons = |position: usize| match role(position) {
                Role::Activation => true,
                Role::Weights => wiring.behind(position, activated).contains(&true),
                Role::Filter | Role::Passage | Role::Other => false,
            };
            if !position.is_some_and(has_neurons) {
                return Err(unused("firing rate scale", name));
            }
        }
        Ok(())
    }
}
