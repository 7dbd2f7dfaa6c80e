//! The rate kernels, forward and backward.
//!
//! The forward kernel reads the input and writes the output once. The backward kernel reads the input and replaces the
//! output's gradient by the input's gradient in place, so it needs no further memory or cache. It recomputes the
//! derivative instead of loading it, which is cheaper than the memory traffic.

use super::{Drive, Stored};
use crate::neuron::RateModel;
use crate::simd::{Kernel, vectorised};

/// A row of neurons whose rates are computed: `output = rate(gain * input + bias)`.
#[derive(Debug)]
pub struct RateBlock<'a, S: Stored> {
    /// Input, gain and bias.
    pub drive: Drive<'a, S::Computed, S>,
    /// Output, `[neurons]`.
    pub output: &'a mut [S],
}

/// A row of neurons whose gradients are computed.
#[derive(Debug)]
pub struct GradientBlock<'a, S: Stored> {
    /// Input, gain and bias of the forward pass.
    pub drive: Drive<'a, S::Computed, S>,
    /// `[neurons]`: the output's gradient, replaced in place by the input's, `gradient * rate'(J) * gain`.
    pub gradient: &'a mut [S],
    /// `[neurons]`: accumulates the bias's gradient, `gradient * rate'(J)`.
    pub bias_gradient: &'a mut [S::Computed],
}

pub(crate) fn rate_forward<M: RateModel, S: Stored>(model: &M, block: RateBlock<S>) {
    check(&block.drive, block.output.len());
    vectorised(Forward { model, block });
}

pub(crate) fn rate_backward<M: RateModel, S: Stored>(model: &M, block: GradientBlock<S>) {
    check(&block.drive, block.gradient.len());
    assert_eq!(block.bias_gradient.len(), block.gradient.len(), "one bias gradient per neuron");
    vectorised(Backward { model, block });
}

fn check<R, S>(drive: &Drive<R, S>, length: usize) {
    let lengths = [drive.input.len(), drive.gain.len(), drive.bias.len()];
    assert!(lengths.iter().all(|&other| other == length), "input, gain, bias of {lengths:?}, expected {length}");
}

struct Forward<'a, M, S: Stored> {
    model: &'a M,
    block: RateBlock<'a, S>,
}

impl<M: RateModel, S: Stored> Kernel for Forward<'_, M, S> {
    #[inline(always)]
    fn run(self) {
        // A copy, so that the compiler sees its parameters as constants of the loop.
        let model = self.model.clone();
        let RateBlock { drive: Drive { input, gain, bias }, output } = self.block;
        for (((output, &input), &gain), &bias) in output.iter_mut().zip(input).zip(gain).zip(bias) {
            *output = S::store(model.rate(gain * input.load() + bias).value);
        }
    }
}

struct Backward<'a, M, S: Stored> {
    model: &'a M,
    block: GradientBlock<'a, S>,
}

impl<M: RateModel, S: Stored> Kernel for Backward<'_, M, S> {
    #[inline(always)]
    fn run(self) {
        let model = self.model.clone();
        let GradientBlock { drive: Drive { input, gain, bias }, gradient, bias_gradient } = self.block;
        let constants = gain.iter().zip(bias);
        let gradients = gradient.iter_mut().zip(bias_gradient);
        for ((&input, (&gain, &bias)), (gradient, to_bias)) in input.iter().zip(constants).zip(gradients) {
            let to_current = gradient.load() * model.rate(gain * input.load() + bias).derivative;
            *gradient = S::store(to_current * gain);
            *to_bias = *to_bias + to_current;
        }
    }
}
