//! What a neuron model is.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{NeuronError, Real};

/// A neuron model: a firing rate to train with and a spiking step to run with, both of the same parameters.
///
/// Write the two formulas generic over [`Real`] and mark them `#[inline(always)]`: fused multi-threaded CPU kernels, the
/// custom gradient and a tensor version for other devices follow from them. `examples/06_custom_neuron.rs` is a whole model.
pub trait NeuronModel: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name in specifications, files and messages: `lif`.
    const NAME: &'static str;

    /// Names of the state variables, 1 to 4. The first starts at the network's initial voltage, the others at 0.
    const STATE: &'static [&'static str];

    /// The state of one neuron, in the order of [`STATE`](Self::STATE): `[R; 2]`.
    type State<R: Real>: StateArray<R>;

    /// Checks the parameters; everything else may then rely on them.
    ///
    /// # Errors
    /// Naming the parameter, its value and what is valid.
    fn validate(&self) -> Result<(), NeuronError>;

    /// The integral over time of one spike: a spike in a step of `dt` seconds has the height `amplitude / dt`.
    fn amplitude(&self) -> f64;

    /// The highest firing rate (Hz) that any current gives; infinity where there is no bound.
    fn max_rate(&self) -> f64;

    /// The stationary output at a constant input current, and its derivative with respect to that current.
    ///
    /// Both must be finite for every finite current.
    fn rate<R: Real>(&self, current: R) -> Rate<R>;

    /// One timestep of `dt` seconds: the output (spikes times `amplitude / dt`), with the state moved on.
    fn step<R: Real>(&self, current: R, state: &mut Self::State<R>, dt: f64) -> R;

    /// `(gain, bias)` for which a neuron driven by `gain * x + bias` is silent up to `x = intercept` and fires at `max_rate`
    /// Hz at `x = 1`.
    ///
    /// # Errors
    /// When no gain and bias do that.
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError>;
}

/// A value and its derivative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate<R> {
    /// The stationary output, `amplitude` times the firing rate in Hz.
    pub value: R,
    /// Its derivative with respect to the input current.
    pub derivative: R,
}

/// A fixed number of state variables: implemented for `[R; N]`.
pub trait StateArray<R>: Copy + AsRef<[R]> + AsMut<[R]> {
    /// How many there are.
    const LEN: usize;
    /// The array of `value(0), value(1), ..`.
    fn from_fn(value: impl FnMut(usize) -> R) -> Self;
}

impl<R: Copy, const N: usize> StateArray<R> for [R; N] {
    const LEN: usize = N;
    #[inline(always)]
    fn from_fn(value: impl FnMut(usize) -> R) -> Self {
        std::array::from_fn(value)
    }
}
