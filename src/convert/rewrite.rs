//! The conversion, layer by layer.

use tch::Tensor;

use super::fold::fold;
use super::wiring::{Role, Wiring};
use super::{Change, ConvertError, Converter, Swap};
use crate::Synapse;
use crate::error::Result;
use crate::network::{BatchNorm, EdgeSpec, Layer, LayerKind, NeuronSpec, Parameters, SpikingSequential};

/// A layer of the new network.
pub(super) struct Piece {
    pub name: String,
    pub kind: LayerKind,
    /// Its parameters, in any floating-point kind; missing ones are initialised by the specification.
    pub tensors: Vec<(String, Tensor)>,
    /// The pieces that it takes its input from, `None` for the image.
    inputs: Vec<Option<usize>>,
}

impl Piece {
    /// The `from` entry of the piece at `index`; empty if it reads the piece before it.
    pub(super) fn from(pieces: &[Self], index: usize) -> Vec<EdgeSpec> {
        let inputs = &pieces[index].inputs;
        let name =
            |&piece: &Option<usize>| piece.map_or(EdgeSpec::INPUT.into(), |piece| pieces[piece].name.as_str().into());
        if *inputs == [index.checked_sub(1)] { vec![] } else { inputs.iter().map(name).collect() }
    }
}

/// The properties of the output of an old layer; the default describes the image.
#[derive(Clone, Default)]
struct Signal {
    /// The piece that it comes from, `None` for the image.
    piece: Option<usize>,
    /// The layers whose weights drive it.
    weights: Vec<String>,
    /// Whether there are neurons after those weights.
    fired: bool,
    /// Whether it contains unfiltered spikes.
    spikes: bool,
}

impl Signal {
    /// Combines the properties of several outputs.
    fn of(inputs: &[Self]) -> Self {
        // Weights behind the neurons of another input count more.
        let fired = inputs.iter().all(|input| input.fired);
        let mut weights: Vec<String> = Vec::new();
        for name in inputs.iter().filter(|input| input.fired == fired).flat_map(|input| &input.weights) {
            if !weights.contains(name) {
                weights.push(name.clone());
            }
        }
        let piece = inputs.first().and_then(|input| input.piece);
        Self { piece, weights, fired, spikes: inputs.iter().any(|input| input.spikes) }
    }
}

/// The layers of the new network, and the changes of the old ones.
pub(super) struct Rewrite<'a> {
    converter: &'a Converter,
    source: &'a SpikingSequential,
    wiring: Wiring,
    pub pieces: Vec<Piece>,
    pub changes: Vec<Change>,
    /// The outputs of the old layers so far.
    signals: Vec<Signal>,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(converter: &'a Converter, source: &'a SpikingSequential) -> Result<Self> {
        converter.check_names(source)?;
        Self::along(Wiring::new(source), converter, source)
    }

    fn along(wiring: Wiring, converter: &'a Converter, source: &'a SpikingSequential) -> Result<Self> {
        let (pieces, changes, signals) = (Vec::new(), Vec::new(), Vec::new());
        let mut rewrite = Self { converter, source, wiring, pieces, changes, signals };
        for (index, layer) in source.layers().iter().enumerate() {
            let signal = rewrite.add(index, layer)?;
            rewrite.signals.push(signal);
        }
        // The last piece is the output, also where what made it has gone.
        if let Some(output) = rewrite.signals.last().and_then(|signal| signal.piece) {
            rewrite.pieces.truncate(output + 1);
        }
        if !rewrite.pieces.iter().any(|piece| matches!(piece.kind, LayerKind::Neuron(_))) {
            let kinds: Vec<_> = source.layers().iter().map(|layer| layer.kind().type_name()).collect();
            return Err(ConvertError::NoActivations(kinds.join(", ")).into());
        }
        Ok(rewrite)
    }

    /// Adds the conversion of a layer; returns the properties of its output.
    fn add(&mut self, index: usize, layer: &Layer) -> Result<Signal> {
        let inputs: Vec<Signal> = self.inputs(index);
        let signal = Signal::of(&inputs);
        match layer.kind() {
            LayerKind::Dropout(_) => {
                self.change(layer, "removed: it has no effect after training");
                Ok(signal)
            }
            LayerKind::BatchNorm(norm) => {
                self.fold(index, layer, *norm, signal.piece)?;
                Ok(signal)
            }
            LayerKind::Relu | LayerKind::LeakyRelu(_) | LayerKind::Neuron(_) => self.add_neurons(index, layer, signal),
            LayerKind::MaxPool(pool) if self.converter.max_to_avg_pool => {
                let piece = self.keep(layer, LayerKind::AvgPool(pool.clone()), &inputs);
                self.change(layer, "to avg_pool");
                Ok(Signal { piece, ..signal })
            }
            LayerKind::MaxPool(_) if signal.spikes => Err(failure(
                layer,
                "the maximum of spikes is not the maximum of their rates; filter the spikes before it \
                 (--synapse 0.01) or use average pooling (--max-to-avg-pool)",
            )
            .into()),
            kind @ (LayerKind::Conv2d(_) | LayerKind::Linear(_) | LayerKind::Scale(_)) => {
                let piece = self.keep(layer, kind.clone(), &inputs);
                Ok(Signal { piece, weights: vec![layer.name().to_string()], fired: false, ..signal })
            }
            kind @ LayerKind::Synapse(_) => {
                let piece = self.keep(layer, kind.clone(), &inputs);
                Ok(Signal { piece, spikes: false, ..signal })
            }
            kind @ (LayerKind::AvgPool(_)
            | LayerKind::MaxPool(_)
            | LayerKind::Flatten
            | LayerKind::Add
            | LayerKind::Concat
            | LayerKind::Standardize(_)
            | LayerKind::Custom(_)) => {
                let piece = self.keep(layer, kind.clone(), &inputs);
                Ok(Signal { piece, ..signal })
            }
        }
    }

    fn inputs(&self, index: usize) -> Vec<Signal> {
        let signal = |from: &Option<usize>| from.map_or_else(Signal::default, |from| self.signals[from].clone());
        self.wiring.inputs(index).iter().map(signal).collect()
    }

    /// Folds the batch normalisation at `index` into `piece`, which is before it.
    fn fold(&mut self, index: usize, layer: &Layer, norm: BatchNorm, piece: Option<usize>) -> Result<()> {
        let other = piece.and_then(|piece| self.other_consumer(piece, index));
        let into = piece.map(|piece| &mut self.pieces[piece]);
        let into = into.filter(|piece| matches!(piece.kind, LayerKind::Conv2d(_) | LayerKind::Linear(_)));
        let (Some(into), Parameters::Normalization(tensors)) = (into, &layer.parameters) else {
            return Err(failure(
                layer,
                "expected a convolution or linear layer directly before it that it can be folded into; place it \
                 after one, before the activation",
            )
            .into());
        };
        if let Some(other) = other {
            let cause = format!(
                "it cannot be folded into {}, whose output is also an input of {other}; use a separate layer for each",
                into.name
            );
            return Err(failure(layer, &cause).into());
        }
        fold(norm, tensors, into)?;
        let action = format!("folded into {}", into.name);
        self.change(layer, action);
        Ok(())
    }

    /// A layer other than the one at `index` that takes the output of `piece`, or what is made of it without a piece.
    fn other_consumer(&self, piece: usize, index: usize) -> Option<&'a str> {
        let same = |old: usize| self.signals.get(old).is_some_and(|signal| signal.piece == Some(piece));
        let consumers = (0..self.signals.len()).filter(|&old| same(old)).flat_map(|old| self.wiring.consumers(old));
        let other = consumers.into_iter().find(|&consumer| consumer != index && !same(consumer));
        other.map(|consumer| self.source.layers()[consumer].name())
    }

    fn add_neurons(&mut self, index: usize, layer: &Layer, input: Signal) -> Result<Signal> {
        let swap = self.converter.swap_for(layer);
        let mut neurons = match (layer.kind(), &swap) {
            (kind, Some(swap)) => swap.neurons(kind).map_err(|cause| failure(layer, &cause))?,
            (LayerKind::Neuron(own), None) => own.clone(),
            _ => {
                return Err(failure(
                    layer,
                    "neurons cannot represent values below 0; train with relu instead, or drop values below 0 with \
                     --swap leaky_relu=spiking-relu",
                )
                .into());
            }
        };
        if let Some(scale) = self.converter.scale_for(layer.name(), &input.weights) {
            neurons.firing_rate_scale = scale;
        }
        if index != self.pieces.len() && neurons.constant_gain_bias().map_err(|cause| failure(layer, &cause))?.is_none()
        {
            // Drawn from a random stream that depends on the layer's position.
            return Err(failure(
                layer,
                "its gains are drawn at random depending on its position, which the conversion changes; use \
                 the same gain for all neurons",
            )
            .into());
        }
        self.note_neurons(layer, swap, &neurons);
        let piece = self.keep(layer, LayerKind::Neuron(neurons), std::slice::from_ref(&input));
        let spiking = Signal { piece, fired: true, spikes: true, ..input };
        match self.converter.synapse {
            Some(tau) if !self.filtered_later(index) => {
                let kind = LayerKind::Synapse(Synapse::Lowpass { tau }.into());
                let name = format!("{}_synapse", layer.name());
                let piece = self.push(Piece { name, kind, tensors: vec![], inputs: vec![piece] });
                Ok(Signal { piece, spikes: false, ..spiking })
            }
            _ => Ok(spiking),
        }
    }

    /// Whether, on every path, a filter follows the neurons at `index` before the next weights or neurons.
    fn filtered_later(&self, index: usize) -> bool {
        let filtered = |consumer: usize| match Role::of(&self.source.layers()[consumer]) {
            Role::Filter => Some(true),
            Role::Passage => None,
            Role::Weights | Role::Activation | Role::Other => Some(false),
        };
        self.wiring.behind(index, filtered).iter().all(|&filtered| filtered)
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

    /// Adds the layer as `kind`, with the parameters that this kind has; returns its piece.
    fn keep(&mut self, layer: &Layer, kind: LayerKind, inputs: &[Signal]) -> Option<usize> {
        let tensors =
            layer.named_parameters().into_iter().map(|(name, tensor)| (name.to_string(), tensor.detach())).collect();
        let inputs = inputs.iter().map(|input| input.piece).collect();
        self.push(Piece { name: layer.name().to_string(), kind, tensors, inputs })
    }

    fn push(&mut self, piece: Piece) -> Option<usize> {
        self.pieces.push(piece);
        Some(self.pieces.len() - 1)
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

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
