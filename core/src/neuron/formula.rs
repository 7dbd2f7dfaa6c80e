//! Recorded formulas, evaluated with tensors on any device or printed as source code.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::Real;

/// An operation of a recorded formula; operands are indices of earlier operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// The input at this index.
    Input(usize),
    /// A constant.
    Constant(f64),
    /// `a + b`.
    Add(usize, usize),
    /// `a - b`.
    Sub(usize, usize),
    /// `a * b`.
    Mul(usize, usize),
    /// `a / b`.
    Div(usize, usize),
    /// The larger of `a` and `b`; `b` if `a` is not a number.
    Max(usize, usize),
    /// The smaller of `a` and `b`; `b` if `a` is not a number.
    Min(usize, usize),
    /// The mask `a > b`.
    Greater(usize, usize),
    /// The second operand where the mask (the first operand) is true, otherwise the third.
    Select(usize, usize, usize),
    /// `e^a`.
    Exp(usize),
    /// `e^a - 1`.
    ExpM1(usize),
    /// `ln(1 + a)`.
    Ln1p(usize),
    /// The largest integer not above `a`.
    Floor(usize),
    /// `abs(a)`.
    Abs(usize),
    /// The spike: 1 if `a` is above 0, otherwise 0. See [`Fire`](super::Fire).
    Fire(usize),
    /// The number of spikes: `floor(a)`.
    Count(usize),
}

thread_local! {
    static TAPE: RefCell<Vec<Operation>> = const { RefCell::new(Vec::new()) };
}

/// A [`Real`] that records the operations applied to it.
#[derive(Clone, Copy, Debug)]
pub struct Traced(usize);

/// The result of a comparison of [`Traced`] numbers.
#[derive(Clone, Copy, Debug)]
pub struct TracedMask(usize);

fn record(operation: Operation) -> usize {
    TAPE.with_borrow_mut(|tape| {
        tape.push(operation);
        tape.len() - 1
    })
}

/// A recorded formula with several inputs and outputs.
#[derive(Debug)]
pub struct Formula {
    operations: Vec<Operation>,
    outputs: Vec<usize>,
}

impl Formula {
    /// Records `formula`, which is called once with `inputs` traced numbers.
    pub fn record(inputs: usize, formula: impl FnOnce(&[Traced]) -> Vec<Traced>) -> Self {
        let outer = TAPE.take();
        let inputs: Vec<_> = (0..inputs).map(|index| Traced(record(Operation::Input(index)))).collect();
        let outputs = formula(&inputs).into_iter().map(|traced| traced.0).collect();
        Self { operations: TAPE.replace(outer), outputs }
    }

    /// Returns the operations in order; operands are indices of earlier operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Returns the indices of the operations that are outputs.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }
}

impl Traced {
    /// Records an operation with this number as the only operand.
    pub(super) fn then(self, operation: impl FnOnce(usize) -> Operation) -> Self {
        Self(record(operation(self.0)))
    }
}

macro_rules! operator {
    ($operator:ident, $method:ident) => {
        impl $operator for Traced {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(record(Operation::$operator(self.0, other.0)))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl Neg for Traced {
    type Output = Self;
    fn neg(self) -> Self {
        Self::constant(0.0) - self
    }
}

impl Real for Traced {
    type Mask = TracedMask;
    fn constant(value: f64) -> Self {
        Self(record(Operation::Constant(value)))
    }
    fn exp(self) -> Self {
        Self(record(Operation::Exp(self.0)))
    }
    fn exp_m1(self) -> Self {
        Self(record(Operation::ExpM1(self.0)))
    }
    fn ln_1p(self) -> Self {
        Self(record(Operation::Ln1p(self.0)))
    }
    fn floor(self) -> Self {
        Self(record(Operation::Floor(self.0)))
    }
    fn abs(self) -> Self {
        Self(record(Operation::Abs(self.0)))
    }
    fn max(self, other: Self) -> Self {
        Self(record(Operation::Max(self.0, other.0)))
    }
    fn min(self, other: Self) -> Self {
        Self(record(Operation::Min(self.0, other.0)))
    }
    fn greater(self, other: Self) -> TracedMask {
        TracedMask(record(Operation::Greater(self.0, other.0)))
    }
    fn select(mask: TracedMask, if_true: Self, if_false: Self) -> Self {
        Self(record(Operation::Select(mask.0, if_true.0, if_false.0)))
    }
}
