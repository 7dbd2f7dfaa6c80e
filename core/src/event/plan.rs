//! A network laid out for the event engine.
//!
//! Neurons are stored channels last: position by position (row by row of the image), and at each position the channels,
//! padded to whole blocks of [`Shape::width`]. A layer of features has one position and the features as its channels.

use std::ops::Range;

use super::aligned::Aligned;
use super::lif::LifConstants;
use crate::neuron::Neuron;

/// How the neurons (or values) of one image are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Shape {
    /// Of a layer's output shape, `[C, H, W]` or anything else as features.
    pub(super) fn of(sizes: &[i64]) -> Self {
        let sizes: Vec<usize> = sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        match *sizes.as_slice() {
            [channels, height, width] => Self { channels, height, width },
            _ => Self { channels: sizes.iter().product(), height: 1, width: 1 },
        }
    }

    #[inline(always)]
    pub(super) fn positions(self) -> usize {
        self.height * self.width
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.channels * self.positions()
    }

    /// Channels that are computed together, in vector registers: a power of two from 16 to 64.
    #[inline(always)]
    pub(super) fn lanes(self) -> usize {
        self.channels.next_power_of_two().clamp(16, 64)
    }

    #[inline(always)]
    pub(super) fn blocks(self) -> usize {
        self.channels.div_ceil(self.lanes())
    }

    /// Channels of a position with padding, which is also the distance between positions.
    #[inline(always)]
    pub(super) fn padded(self) -> usize {
        self.blocks() * self.lanes()
    }

    /// How many numbers all positions take.
    #[inline(always)]
    pub(super) fn storage(self) -> usize {
        self.padded() * self.positions()
    }

    /// Where the neuron at `index`, counted as tensors do (`[C, H, W]`), is stored.
    #[inline(always)]
    pub(super) fn stored_at(self, index: usize) -> usize {
        let (channel, position) = (index / self.positions(), index % self.positions());
        position * self.padded() + channel
    }
}

/// A window's element that lies inside the input: for each output position a few.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// The position in the input.
    pub input: u32,
    /// Which element of the kernel.
    pub kernel: u32,
}

/// The taps of all output positions.
#[derive(Debug)]
pub(super) struct Windows {
    taps: Vec<Tap>,
    ends: Vec<usize>,
}

impl Windows {
    pub(super) fn new(per_position: impl Iterator<Item = Vec<Tap>>) -> Self {
        let (mut taps, mut ends) = (Vec::new(), vec![0]);
        for mut position in per_position {
            taps.append(&mut position);
            ends.push(taps.len());
        }
        Self { taps, ends }
    }

    #[inline(always)]
    pub(super) fn at(&self, position: usize) -> &[Tap] {
        &self.taps[self.ends[position]..self.ends[position + 1]]
    }

    pub(super) fn len(&self) -> usize {
        self.taps.len()
    }
}

/// The weights into one block of output channels.
#[derive(Debug)]
pub(super) struct Weights<R> {
    /// `[kernel elements, input channels, lanes]`; times the height of a spike where the input is spikes.
    pub rows: Aligned<R>,
    /// `[lanes]`.
    pub bias: Vec<R>,
    /// The input channels that the block sees; not all of them if there are groups.
    pub channels: Range<usize>,
    /// The same as bits, 64 channels a word.
    pub mask: Vec<u64>,
}

/// What a stage computes from the activity before it, for each position and block of channels.
#[derive(Debug)]
pub(super) enum Operation<R> {
    Identity,
    /// A convolution, or a linear layer, which is one with a kernel as large as the image.
    Affine {
        windows: Windows,
        weights: Vec<Weights<R>>,
    },
    AveragePool {
        windows: Windows,
        area: R,
    },
    MaxPool {
        windows: Windows,
    },
}

/// Where the result goes.
#[derive(Debug)]
pub(super) enum Sink<R> {
    Values,
    Lif(LifConstants<R>),
    Neurons(Neuron),
    /// `x' = A x + b u`, with so many state variables.
    Synapse {
        transition: [[R; 2]; 2],
        input: [R; 2],
        variables: usize,
    },
}

/// What flows between two stages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow<R> {
    /// The same values at every step, `[position, channel]`.
    Constant,
    /// `[position, step, channel]`.
    Values,
    /// One bit a channel, `[position, step, words]`; the height of a spike.
    Spikes(R),
}

/// Gain, bias and initial voltage of a layer of neurons, stored as the neurons are.
#[derive(Debug)]
pub(super) struct Tuning<R> {
    pub gain: Aligned<R>,
    pub bias: Aligned<R>,
    pub voltage: Aligned<R>,
    /// Of each block of neurons its learned parameters, `[block, parameters, lanes]`.
    pub learned: Aligned<R>,
}

/// An operation with what follows it.
#[derive(Debug)]
pub(super) struct Stage<R> {
    /// The index of the layer that its output is the output of.
    pub layer: usize,
    pub operation: Operation<R>,
    pub sink: Sink<R>,
    /// Of neurons; else empty.
    pub tuning: Tuning<R>,
    pub input: Shape,
    pub input_flow: Flow<R>,
    pub output: Shape,
    pub output_flow: Flow<R>,
}

impl<R> Stage<R> {
    /// State variables of a neuron (or element of a synapse).
    pub(super) fn variables(&self) -> usize {
        match &self.sink {
            Sink::Values => 0,
            Sink::Lif(_) => 2,
            Sink::Neurons(neurons) => neurons.state().len(),
            Sink::Synapse { variables, .. } => *variables,
        }
    }

    /// Whether it is computed once for all time.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.input_flow, Flow::Constant)
    }

    /// Products of inputs and weights in one step, were all inputs active.
    pub(super) fn products(&self) -> usize {
        match &self.operation {
            Operation::Affine { windows, weights } => {
                let channels: usize = weights.iter().map(|weights| weights.channels.len()).sum();
                windows.len() * channels * self.output.lanes()
            }
            _ => 0,
        }
    }

    pub(super) fn has_neurons(&self) -> bool {
        matches!(self.sink, Sink::Lif(_) | Sink::Neurons(_))
    }
}

/// The whole network.
#[derive(Debug)]
pub(super) struct Plan<R> {
    pub input: Shape,
    pub stages: Vec<Stage<R>>,
    pub dt: f64,
}

impl<R> Plan<R> {
    pub(super) fn output(&self) -> Shape {
        self.stages.last().map_or(self.input, |stage| stage.output)
    }
}
