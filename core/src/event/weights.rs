//! Convolutions, linear layers and pools laid out: which inputs each output position sees, and weights of which one row
//! serves one input.

use super::EventError;
use super::layers::{Source, stored};
use super::plan::{Operation, Shape, Tap, Weights, Windows};
use crate::file::Array;
use crate::kernels::Number;
use crate::spec::{Conv2d, LayerKind, Node, Pool};

/// More elements of windows than this (over all output positions) are a mistake in the sizes.
const MOST_TAPS: usize = 1 << 26;

/// The operation of a layer that has one; `height` is that of the spikes that it reads, 1 where it reads values.
pub(super) fn operation<R: Number>(
    source: &Source,
    node: &Node,
    input: Shape,
    output: Shape,
    height: R,
) -> Result<Operation<R>, EventError> {
    Ok(match &node.kind {
        LayerKind::Conv2d(conv) => {
            let window = Window {
                kernel: conv.kernel.to_array(),
                stride: conv.stride.to_array(),
                padding: conv.padding.to_array(),
                dilation: conv.dilation.to_array(),
            };
            window.check(node, output)?;
            let (weight, bias) = (source.parameter(node, "weight")?, source.bias(node, conv.bias)?);
            let weights = affine(weight, bias, &conv_weight(conv, input), input, output, conv.groups, height);
            Operation::Affine { windows: window.taps(input, output), weights }
        }
        LayerKind::Linear(linear) => {
            let whole = (0..input.positions()).map(|position| Tap { input: position as u32, kernel: position as u32 });
            let positions = input.positions();
            let at = move |element: usize, channel: usize| channel * positions + element;
            let layout = WeightLayout { elements: positions, inputs: input.channels, at: Box::new(at) };
            let (weight, bias) = (source.parameter(node, "weight")?, source.bias(node, linear.bias)?);
            let weights = affine(weight, bias, &layout, input, output, 1, height);
            Operation::Affine { windows: Windows::new(std::iter::once(whole.collect())), weights }
        }
        LayerKind::AvgPool(pool) => {
            let area = (pool.kernel.0 * pool.kernel.1) as f64;
            Operation::AveragePool { windows: pool_windows(node, pool, input, output)?, area: R::constant(area) }
        }
        LayerKind::MaxPool(pool) => Operation::MaxPool { windows: pool_windows(node, pool, input, output)? },
        LayerKind::Scale(scale) => {
            let weights = source.parameter(node, "weight")?.values.iter().map(|&weight| R::constant(weight));
            let weights =
                if scale.shared { weights.cycle().take(input.len()).collect() } else { weights.collect::<Vec<_>>() };
            Operation::Scale { weights: stored(weights, input) }
        }
        LayerKind::Relu
        | LayerKind::LeakyRelu(_)
        | LayerKind::BatchNorm(_)
        | LayerKind::Standardize(_)
        | LayerKind::Custom(_)
        | LayerKind::Flatten
        | LayerKind::Dropout(_)
        | LayerKind::Neuron(_)
        | LayerKind::Synapse(_)
        | LayerKind::Add
        | LayerKind::Concat => {
            let kind = node.kind.type_name().to_string();
            return Err(EventError::Layer { layer: node.name.clone(), kind });
        }
    })
}

fn pool_windows(node: &Node, pool: &Pool, input: Shape, output: Shape) -> Result<Windows, EventError> {
    let window = Window {
        kernel: pool.kernel.to_array(),
        stride: pool.step().to_array(),
        padding: pool.padding.to_array(),
        dilation: [1, 1],
    };
    window.check(node, output)?;
    Ok(window.taps(input, output))
}

struct Window {
    kernel: [i64; 2],
    stride: [i64; 2],
    padding: [i64; 2],
    dilation: [i64; 2],
}

impl Window {
    /// Refuses windows that no network can mean to have, before memory is taken for them.
    fn check(&self, node: &Node, output: Shape) -> Result<(), EventError> {
        let area = self.kernel[0].saturating_mul(self.kernel[1]);
        let taps = usize::try_from(area).unwrap_or(usize::MAX).saturating_mul(output.positions());
        match taps <= MOST_TAPS {
            true => Ok(()),
            false => Err(EventError::Windows { layer: node.name.clone(), taps, most: MOST_TAPS }),
        }
    }

    /// Of every output position the kernel's elements that lie inside the input.
    fn taps(&self, input: Shape, output: Shape) -> Windows {
        let sizes = [input.height as i64, input.width as i64];
        let positions = (0..output.positions()).map(|position| [position / output.width, position % output.width]);
        Windows::new(positions.map(|at| {
            let elements = (0..self.kernel[0]).flat_map(|y| (0..self.kernel[1]).map(move |x| [y, x]));
            let inside = elements.filter_map(|element| {
                let [y, x]: [i64; 2] = std::array::from_fn(|i| {
                    at[i] as i64 * self.stride[i] + element[i] * self.dilation[i] - self.padding[i]
                });
                let kernel = (element[0] * self.kernel[1] + element[1]) as u32;
                let inside = (0..sizes[0]).contains(&y) && (0..sizes[1]).contains(&x);
                inside.then_some(Tap { input: (y * sizes[1] + x) as u32, kernel })
            });
            inside.collect()
        }))
    }
}

/// Where a weight tensor has the weight of a kernel element and an input channel (of its group) to output 0.
struct WeightLayout {
    elements: usize,
    /// Input channels of a group.
    inputs: usize,
    at: Box<dyn Fn(usize, usize) -> usize>,
}

fn conv_weight(conv: &Conv2d, input: Shape) -> WeightLayout {
    let elements = (conv.kernel.0 * conv.kernel.1) as usize;
    let at = move |element: usize, channel: usize| channel * elements + element;
    WeightLayout { elements, inputs: input.channels / conv.groups as usize, at: Box::new(at) }
}

fn affine<R: Number>(
    weight: &Array,
    bias: Option<&Array>,
    layout: &WeightLayout,
    input: Shape,
    output: Shape,
    groups: i64,
    height: R,
) -> Vec<Weights<R>> {
    let weight = &weight.values;
    let lanes = output.lanes();
    let outputs_of_group = output.channels / groups as usize;
    let per_output = layout.elements * layout.inputs;
    let block = |block: usize| {
        let outputs = block * lanes..((block + 1) * lanes).min(output.channels);
        let group_of = |output: usize| output / outputs_of_group;
        let channels = group_of(outputs.start) * layout.inputs..(group_of(outputs.end - 1) + 1) * layout.inputs;
        let mut rows = vec![R::default(); layout.elements * channels.len() * lanes];
        for output in outputs.clone() {
            let first = group_of(output) * layout.inputs;
            for element in 0..layout.elements {
                for channel in 0..layout.inputs {
                    let row = element * channels.len() + first + channel - channels.start;
                    let value = weight[output * per_output + (layout.at)(element, channel)];
                    rows[row * lanes + output - outputs.start] = R::constant(value) * height;
                }
            }
        }
        let mut block_bias = vec![R::default(); lanes];
        for (to, output) in block_bias.iter_mut().zip(outputs) {
            *to = R::constant(bias.map_or(0.0, |bias| bias.values[output]));
        }
        let mut mask = vec![0u64; input.blocks()];
        channels.clone().for_each(|channel| mask[channel / 64] |= 1 << (channel % 64));
        Weights { rows: rows.into(), bias: block_bias, channels, mask }
    };
    (0..output.blocks()).map(block).collect()
}
