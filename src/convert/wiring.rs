//! The connections between layers, and their roles in a conversion.

use std::collections::HashSet;

use crate::network::{Layer, LayerKind, Origin, SpikingSequential};

/// The role of a layer in a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Weights, which drive neurons.
    Weights,
    /// An analog activation, or neurons.
    Activation,
    /// A filter over time.
    Filter,
    /// Passes spikes on without weights: a filter may also follow it.
    Passage,
    /// Anything else.
    Other,
}

impl Role {
    pub(super) fn of(layer: &Layer) -> Self {
        match layer.kind() {
            LayerKind::Conv2d(_) | LayerKind::Linear(_) | LayerKind::Scale(_) => Self::Weights,
            LayerKind::Relu | LayerKind::LeakyRelu(_) | LayerKind::Neuron(_) => Self::Activation,
            LayerKind::Synapse(_) => Self::Filter,
            LayerKind::Flatten | LayerKind::Dropout(_) | LayerKind::AvgPool(_) | LayerKind::Add | LayerKind::Concat => {
                Self::Passage
            }
            LayerKind::MaxPool(_) | LayerKind::BatchNorm(_) | LayerKind::Standardize(_) | LayerKind::Custom(_) => {
                Self::Other
            }
        }
    }
}

/// The inputs of every layer: positions of earlier layers, `None` for the image.
#[derive(Debug)]
pub(super) struct Wiring(Vec<Vec<Option<usize>>>);

impl Wiring {
    pub(super) fn new(network: &SpikingSequential) -> Self {
        let inputs = |layer: &Layer| {
            let from = layer.inputs().iter().map(|edge| match edge.from {
                Origin::Input => None,
                Origin::Node(index) => Some(index),
            });
            from.collect()
        };
        Self(network.layers().iter().map(inputs).collect())
    }

    #[cfg(test)]
    pub(super) fn with_inputs(inputs: Vec<Vec<Option<usize>>>) -> Self {
        Self(inputs)
    }

    pub(super) fn inputs(&self, index: usize) -> &[Option<usize>] {
        &self.0[index]
    }

    /// The layers that read the output of the layer at `index`.
    pub(super) fn consumers(&self, index: usize) -> impl Iterator<Item = usize> {
        (0..self.0.len()).filter(move |&consumer| self.0[consumer].contains(&Some(index)))
    }

    /// For each path from the layer at `index`: the result of `answer` for the first layer with a result;
    /// `false` for a path that ends before.
    pub(super) fn behind(&self, index: usize, answer: impl Fn(usize) -> Option<bool>) -> Vec<bool> {
        let (mut answers, mut seen, mut ends) = (Vec::new(), HashSet::new(), vec![index]);
        while let Some(end) = ends.pop() {
            let mut consumers = self.consumers(end).peekable();
            if consumers.peek().is_none() {
                answers.push(false);
            }
            for consumer in consumers {
                match answer(consumer) {
                    Some(answer) => answers.push(answer),
                    None if seen.insert(consumer) => ends.push(consumer),
                    None => {}
                }
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 goes into 1 and 2, which 3 takes together with the image; 4 follows 3, and nothing takes 4.
    fn diamond() -> Wiring {
        Wiring(vec![vec![None], vec![Some(0)], vec![Some(0)], vec![Some(1), Some(2), None], vec![Some(3)]])
    }

    #[test]
    fn consumers_are_all_layers_that_take_it() {
        let of = |index| diamond().consumers(index).collect::<Vec<_>>();
        assert_eq!([of(0), of(1), of(2), of(3), of(4)], [vec![1, 2], vec![3], vec![3], vec![4], vec![]]);
        assert_eq!(diamond().inputs(3), [Some(1), Some(2), None]);
    }

    #[test]
    fn what_is_behind_is_asked_on_every_way() {
        // Says something of layers 1 and 4 only.
        let answer = |index| [None, Some(true), None, None, Some(false)][index];
        let mut both = diamond().behind(0, answer);
        both.sort_unstable();
        assert_eq!(both, [false, true]);
        assert_eq!(diamond().behind(2, answer), [false]);
        assert_eq!(diamond().behind(3, |_| None), [false], "the way ends");
        assert_eq!(diamond().behind(0, |index| (index == 3).then_some(true)), [true, true]);
    }
}
