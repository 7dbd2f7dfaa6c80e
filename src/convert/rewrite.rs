//! Layer by layer to the layers of the new network.

use tch::Tensor;

use super::fold::fold;
use super::{Change, ConvertError, Converter, Swap};
use crate::Synapse;
use crate::error::Result;
use crate::network::{Layer, LayerKind, NeuronSpec, Parameters, SpikingSequential};

/// A layer of the new network.
pub(super) struct Piece {
    pub name: String,
    pub kind: LayerKind,
    /// Its parameters, in any floating-point kind; those that are missing are as the specification says.
    pub tensors: Vec<(String, Tensor)>,
}

/// The layers of the new network, and what was done to the old ones.
pub(super) struct Rewrite<'a> {
    converter: &'a Converter,
    source: &'a SpikingSequential,
    pub pieces: Vec<Piece>,
    pub changes: Vec<Change>,
    /// The layer whose weights drive what comes next.
    weights: Option<String>,
    /// Whether spikes, not filtered, are what comes next.
    spikes: bool,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(converter: &'a Converter, source: &'a SpikingSequential) -> Result<Self> {
        converter.check_names(source)?;
        let (pieces, changes) = (Vec::new(), Vec::new());
        let mut rewrite = Self { converter, source, pieces, changes, weights: None, spikes: false };
        for (index, layer) in source.layers().iter().enumerate() {
            rewrite.add(index, layer)?;
        }
        if !rewrite.pieces.iter().any(|piece| matches!(piece.kind, LayerKind::Neuron(_))) {
            let kinds: Vec<_> = source.layers().iter().map(|layer| layer.kind().type_name()).collect();
            return Err(ConvertError::NoActivations(kinds.join(", ")).into());
        }
        Ok(rewrite)
    }

    fn add(&mut self, index: usize, layer: &Layer) -> Result<()> {
        match (layer.kind(), &layer.parameters) {
            (LayerKind::Dropout(_), _) => self.change(layer, "removed: it does nothing after training"),
            (LayerKind::BatchNorm(norm), Parameters::Normalization(tensors)) => {
                let into = self.pieces.last_mut();
                let into = into.filter(|piece| matches!(piece.kind, LayerKind::Conv2d(_) | LayerKind::Linear(_)));
                let into = into.ok_or_else(|| {
                    failure(
                        layer,
                        "there is no convolution or linear layer right before it that it could be folded into; put it \
                         behind one, before the activation",
                    )
                })?;
                fold(*norm, tensors, into)?;
                let action = format!("folded into {}", into.name);
                self.change(layer, action);
            }
            (LayerKind::Relu | LayerKind::LeakyRelu(_) | LayerKind::Neuron(_), _) => self.add_neurons(index, layer)?,
            (LayerKind::MaxPool(pool), _) if self.converter.max_to_avg_pool => {
                self.keep(layer, LayerKind::AvgPool(pool.clone()));
                self.change(layer, "to avg_pool");
            }
            (LayerKind::MaxPool(_), _) if self.spikes => {
                return Err(failure(
                    layer,
                    "the maximum of single spikes is not that of their rates; filter the spikes before it \
                     (--synapse 0.01) or take the mean instead (--max-to-avg-pool)",
                )
                .into());
            }
            (kind, _) => {
                if matches!(kind, LayerKind::Conv2d(_) | LayerKind::Linear(_)) {
                    self.weights = Some(layer.name().to_string());
                }
                self.spikes &= !matches!(kind, LayerKind::Synapse(_));
                self.keep(layer, kind.clone());
            }
        }
        Ok(())
    }

    fn add_neurons(&mut self, index: usize, layer: &Layer) -> Result<()> {
        let swap = self.converter.swap_for(layer);
        let mut neurons = match (layer.kind(), &swap) {
            (kind, Some(swap)) => swap.neurons(kind).map_err(|cause| failure(layer, &cause))?,
            (LayerKind::Neuron(own), None) => own.clone(),
            _ => {
                return Err(failure(
                    layer,
                    "neurons cannot pass on what is below 0; train with relu instead, or leave out what is below 0 with \
                     --swap leaky_relu=spiking-relu",
                )
                .into());
            }
        };
        if let Some(scale) = self.converter.scale_for(layer.name(), self.weights.as_deref()) {
            neurons.firing_rate_scale = scale;
        }
        if index != self.pieces.len() && neurons.constant_gain_bias().map_err(|cause| failure(layer, &cause))?.is_none()
        {
            // Drawn from a stream that belongs to the layer's place.
            return Err(failure(
                layer,
                "its gains are drawn at random for its place among the layers, which the conversion changes; give it \
                 the same gain for all neurons",
            )
            .into());
        }
        self.note_neurons(layer, swap, &neurons);
        self.keep(layer, LayerKind::Neuron(neurons));
        self.spikes = true;
        if let Some(tau) = self.converter.synapse
            && !self.filtered_later(index)
        {
            let kind = LayerKind::Synapse(Synapse::Lowpass { tau });
            self.pieces.push(Piece { name: format!("{}_synapse", layer.name()), kind, tensors: vec![] });
            self.spikes = false;
        }
        Ok(())
    }

    /// Whether a filter comes behind the neurons at `index` before the next weights or neurons.
    fn filtered_later(&self, index: usize) -> bool {
        let after = self.source.layers()[index + 1..].iter().map(Layer::kind);
        let mut stop =
            after.filter(|kind| !matches!(kind, LayerKind::Flatten | LayerKind::Dropout(_) | LayerKind::AvgPool(_)));
        matches!(stop.next(), Some(LayerKind::Synapse(_)))
    }

    fn note_neurons(&mut self, layer: &Layer, swap: Option<Swap>, neurons: &NeuronSpec) {
        let scale = neurons.firing_rate_scale;
        let linear = neurons.model.name() == "rectified_linear";
        let mut actions = Vec::new();
        if swap.is_some() {
            actions.push(format!("to {}", neurons.model.name()));
        }
        let before = match layer.kind() {
            LayerKind::Neuron(own) => own.firing_rate_scale,
            _ => 1.0,
        };
        if scale != before {
            let skewed = if linear { "" } else { " (not exact: their rate is not proportional to the current)" };
            actions.push(format!("rates x {scale:.4}{skewed}").replace(".0000", ""));
        }
        if !actions.is_empty() {
            self.change(layer, actions.join(", "));
        }
    }

    /// Takes the layer over as `kind`, with its parameters as far as that has them.
    fn keep(&mut self, layer: &Layer, kind: LayerKind) {
        let tensors = layer.named_parameters().into_iter().map(|(name, tensor)| (name.to_string(), tensor.detach()));
        self.pieces.push(Piece { name: layer.name().to_string(), kind, tensors: tensors.collect() });
    }

    fn change(&mut self, layer: &Layer, action: impl Into<String>) {
        let kind = layer.kind().type_name().to_string();
        self.changes.push(Change { layer: layer.name().to_string(), kind, action: action.into() });
    }
}

fn failure(layer: &Layer, cause: &str) -> ConvertError {
    let (layer, kind) = (layer.name().to_string(), layer.kind().type_name().to_string());
    ConvertError::Layer { layer, kind, cause: cause.to_string() }
}
