//! A network laid out for the event engine.
//!
//! Neurons are stored channels last: position by position (row by row of the image), and at each position the channels,
//! padded to whole blocks of [`Shape::width`]. A layer of features has one position and the features as its channels.

use std::ops::Range;
use std::sync::Arc;

use super::aligned::Aligned;
use super::join::Run;
use super::lif::LifConstants;
use crate::kernels::{NoiseKey, Number};
use crate::neuron::{Neuron, Output};

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

/// The timesteps of a stretch that are computed at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// The first of them.
    pub first: usize,
    /// How many there are.
    pub steps: usize,
    /// How many there is room for in the whole stretch.
    pub capacity: usize,
}

impl Stretch {
    /// A single one of them.
    pub(super) fn single(self, step: usize) -> Self {
        Self { first: self.first + step, steps: 1, ..self }
    }

    /// The bits of these steps in a word of spike times, if the first is bit 0.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        u32::MAX >> (u32::BITS as usize - self.steps.clamp(1, u32::BITS as usize))
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
    /// A weight for each element, stored as they are.
    Scale {
        weights: Aligned<R>,
    },
    AveragePool {
        windows: Windows,
        area: R,
    },
    MaxPool {
        windows: Windows,
    },
    /// `(x - mean) / std`, with numbers stored as the neurons are.
    Standardize {
        mean: Aligned<R>,
        std: Aligned<R>,
    },
}

/// Where the result goes.
#[derive(Clone, Debug)]
pub(super) enum Sink<R> {
    Values,
    /// LIF neurons without exponentials; the model itself for when its state is recorded.
    Lif {
        constants: LifConstants<R>,
        neuron: Neuron,
    },
    /// Neurons of any model; the key of their random numbers if they are noisy.
    Neurons {
        neuron: Neuron,
        noise: Option<NoiseKey>,
    },
    /// `x' = A x + b u`, with so many state variables.
    Synapse {
        transition: [[R; 2]; 2],
        input: [R; 2],
        variables: usize,
    },
    /// The inputs side by side rather than added up: of each input the channels that it is made of, and where they go.
    Join(Vec<Vec<Run>>),
    /// The output of a layer a timestep later; zero at first. It is no input, as it may be computed after this stage.
    Delay {
        /// The activity that is delayed.
        from: usize,
    },
}

impl<R: Number> Sink<R> {
    /// The height of a spike, if what comes out is spikes of one height.
    pub(super) fn height(&self, dt: f64) -> Option<R> {
        match self {
            Self::Lif { constants, .. } => Some(constants.height),
            Self::Neurons { neuron, .. } if neuron.output() == Output::Spike => {
                Some(R::constant(neuron.amplitude() / dt))
            }
            Self::Values | Self::Neurons { .. } | Self::Synapse { .. } | Self::Join(_) | Self::Delay { .. } => None,
        }
    }
}

/// What flows between two stages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow<R> {
    /// The same values at every step, `[position, channel]`.
    Constant,
    /// `[position, step, channel]`.
    Values,
    /// A word of spike times for each neuron, a bit for each step; the height of a spike.
    Spikes(R),
}

/// Gain, bias and initial voltage of a layer of neurons, stored as the neurons are. Empty for other layers.
#[derive(Debug)]
pub(super) struct Tuning<R> {
    pub gain: Aligned<R>,
    pub bias: Aligned<R>,
    pub voltage: Aligned<R>,
    /// Of each block of neurons its learned parameters, `[block, parameters, lanes]`.
    pub learned: Aligned<R>,
}

impl<R: Copy + Default> Default for Tuning<R> {
    fn default() -> Self {
        let [gain, bias, voltage, learned] = Default::default();
        Self { gain, bias, voltage, learned }
    }
}

/// An input of a stage: what is read, and what is done with it.
#[derive(Clone, Debug)]
pub(super) struct Input<R> {
    /// The activity that is read: 0 for the network's input, `1 + n` for the output of stage `n`.
    pub from: usize,
    pub flow: Flow<R>,
    pub shape: Shape,
    pub operation: Arc<Operation<R>>,
}

impl<R> Input<R> {
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.flow, Flow::Constant)
    }

    /// Products of inputs and weights in one step, were all inputs active.
    pub(super) fn products(&self, output: Shape) -> usize {
        match self.operation.as_ref() {
            Operation::Affine { windows, weights } => {
                let channels: usize = weights.iter().map(|weights| weights.channels.len()).sum();
                windows.len() * channels * output.lanes()
            }
            _ => 0,
        }
    }
}

/// The sum of a few operations, one at least, with what follows it.
#[derive(Debug)]
pub(super) struct Stage<R> {
    pub inputs: Vec<Input<R>>,
    pub sink: Sink<R>,
    pub tuning: Arc<Tuning<R>>,
    pub output: Shape,
    pub output_flow: Flow<R>,
}

impl<R> Stage<R> {
    /// Whether what comes in is the same at every step.
    pub(super) fn is_constant(&self) -> bool {
        self.inputs.iter().all(Input::is_constant) && !matches!(self.sink, Sink::Delay { .. })
    }

    #[inline(always)]
    pub(super) fn has_neurons(&self) -> bool {
        matches!(self.sink, Sink::Lif { .. } | Sink::Neurons { .. })
    }

    /// The model of its neurons, if it has any.
    pub(super) fn neuron(&self) -> Option<&Neuron> {
        match &self.sink {
            Sink::Lif { neuron, .. } | Sink::Neurons { neuron, .. } => Some(neuron),
            Sink::Values | Sink::Synapse { .. } | Sink::Join(_) | Sink::Delay { .. } => None,
        }
    }
}

/// Where the output of a layer is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is an activity of its own.
    Activity(usize),
    /// It exists block by block only: the sum of these inputs of a stage.
    Rows { stage: usize, inputs: Range<usize> },
}

/// The whole network, for input that is constant or for input that varies.
#[derive(Debug)]
pub(super) struct Plan<R> {
    pub input: Shape,
    pub input_flow: Flow<R>,
    pub stages: Vec<Stage<R>>,
    /// The stages of each cycle, which are computed step by step, in the order of the stages.
    pub cycles: Vec<Range<usize>>,
    /// Of each layer where its output is.
    pub places: Vec<Place>,
    /// The activity that is the network's output.
    pub output: usize,
    pub dt: f64,
}

impl<R: Copy> Plan<R> {
    /// How an activity flows, and how it is stored.
    pub(super) fn activity(&self, index: usize) -> (Flow<R>, Shape) {
        match index.checked_sub(1) {
            Some(stage) => (self.stages[stage].output_flow, self.stages[stage].output),
            None => (self.input_flow, self.input),
        }
    }

    pub(super) fn output_shape(&self) -> Shape {
        self.activity(self.output).1
    }

    /// The stage whose neurons are the layer's.
    pub(super) fn neurons_of(&self, layer: usize) -> Option<usize> {
        let Some(Place::Activity(index)) = self.places.get(layer) else { return None };
        let stage = index.checked_sub(1)?;
        self.stages[stage].neuron().map(|_| stage)
    }
}
