//! The traits that define a neuron model.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::erased::RateNeuron;
use super::{Fire, Learned, NeuronError, Real};

/// A spiking neuron model: its parameters and the formula of one timestep.
///
/// Write the formula generic over [`Real`] and mark it `#[inline(always)]`: fused multi-threaded CPU kernels, CUDA
/// source and a tensor version for other devices follow from it. A model that can be trained as a rate implements
/// [`RateModel`] too.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tch_spiking_core::neuron::{
///     Fire, Initial, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithoutRate,
/// };
///
/// /// Counts its input and spikes at every whole unit.
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// struct Counter {}
///
/// impl NeuronModel for Counter {
///     const NAME: &'static str = "counter";
///     const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
///     type State<R: Real> = [R; 1];
///     type Learned<R: Real> = [R; 0];
///     type Rates = WithoutRate;
///
///     fn validate(&self) -> Result<(), NeuronError> {
///         Ok(())
///     }
///     fn amplitude(&self) -> f64 {
///         1.0
///     }
///     #[inline(always)]
///     fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 1], fire: &F) -> R {
///         let voltage = state[0] + input.current * R::constant(input.dt);
///         let spikes = fire.count(voltage);
///         state[0] = voltage - spikes;
///         spikes * R::constant(1.0 / input.dt)
///     }
/// }
/// ```
pub trait NeuronModel: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The model's name in specifications, files and messages, such as `lif`.
    const NAME: &'static str;

    /// The state variables, 1 to [`MAX_STATE`](crate::kernels::MAX_STATE).
    const STATE: &'static [StateVariable];

    /// The parameters that training can change, at most [`MAX_LEARNED`](crate::kernels::MAX_LEARNED); none for most models.
    ///
    /// A layer says which of them it trains (`learn = ["decay"]` in TOML); the others keep the values that
    /// [`learned_values`](Self::learned_values) gives. [`step`](Self::step) receives all of them as inputs.
    const LEARNED: &'static [Learned] = &[];

    /// What the output of a step is.
    const OUTPUT: Output = Output::Counts;

    /// Whether [`step`](Self::step) uses [`StepInput::uniform`], a random number.
    const NOISY: bool = false;

    /// The state of one neuron, in the order of [`STATE`](Self::STATE): `[R; 2]`.
    type State<R: Real>: StateArray<R>;

    /// The learned parameters of one neuron, in the order of [`LEARNED`](Self::LEARNED): `[R; 0]`.
    type Learned<R: Real>: StateArray<R>;

    /// [`WithRate`] for a model that implements [`RateModel`], otherwise [`WithoutRate`].
    type Rates: Rates<Self>;

    /// Validates the parameters; all other methods may rely on it.
    ///
    /// # Errors
    /// Returns an error that names the parameter, its value and the valid range.
    fn validate(&self) -> Result<(), NeuronError>;

    /// Returns the integral of one spike over time: a spike in a step of `dt` seconds has height `amplitude / dt`.
    ///
    /// For a model without spikes ([`Output::Values`]) it is the factor of the output.
    fn amplitude(&self) -> f64;

    /// Returns the values of the [`LEARNED`](Self::LEARNED) parameters before training, for a timestep of `dt` seconds: those
    /// that the model's own parameters give. By default, each parameter's `default`.
    fn learned_values(&self, _dt: f64) -> Self::Learned<f64> {
        Self::Learned::<f64>::from_fn(|index| Self::LEARNED.get(index).map_or(f64::NAN, |learned| learned.default))
    }

    /// Computes one timestep: returns the output (spikes times `amplitude / dt`) and advances `state` in place.
    ///
    /// The spike comes from `fire`, so that training can substitute its derivative; a step calls it at most twice.
    fn step<R: Real, F: Fire<R>>(
        &self,
        input: StepInput<R, Self::Learned<R>>,
        state: &mut Self::State<R>,
        fire: &F,
    ) -> R;
}

/// A model with a firing rate: a differentiable function of a constant current, used in training.
pub trait RateModel: NeuronModel {
    /// Returns the upper bound of the firing rate (Hz); infinity if there is none.
    fn max_rate(&self) -> f64;

    /// Computes the stationary output at a constant input current, and its derivative with respect to that current.
    ///
    /// Both must be finite for every finite current.
    fn rate<R: Real>(&self, current: R) -> Rate<R>;

    /// Computes `(gain, bias)` such that a neuron driven by `gain * x + bias` is silent up to `x = intercept` and fires
    /// at `max_rate` Hz at `x = 1`.
    ///
    /// # Errors
    /// Returns an error if no gain and bias satisfy this.
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError>;
}

/// The input of one neuron in one timestep.
#[derive(Clone, Copy, Debug)]
pub struct StepInput<R, L> {
    /// The input current (dimensionless).
    pub current: R,
    /// Learned parameters.
    pub learned: L,
    /// A random number, uniform in `[0, 1)`, for [`NOISY`](NeuronModel::NOISY) models; 0 for others.
    pub uniform: R,
    /// Timestep (s).
    pub dt: f64,
}

impl<R: Real> StepInput<R, [R; 0]> {
    /// Creates the input of a model without learned parameters or noise.
    pub fn new(current: R, dt: f64) -> Self {
        Self { current, learned: [], uniform: R::constant(0.0), dt }
    }
}

/// A value and its derivative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate<R> {
    /// The stationary output, `amplitude` times the firing rate in Hz.
    pub value: R,
    /// The derivative with respect to the input current.
    pub derivative: R,
}

/// A state variable of a neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StateVariable {
    /// Name in probes, such as `voltage`.
    pub name: &'static str,
    /// Initial value.
    pub initial: Initial,
}

impl StateVariable {
    /// Creates a variable named `name`.
    pub const fn new(name: &'static str, initial: Initial) -> Self {
        Self { name, initial }
    }
}

/// The initial value of a state variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// The network's initial membrane voltage.
    Voltage,
    /// The same number for all neurons.
    Value(f64),
}

/// What the output of a step is, in units of `amplitude / dt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// 0 or 1: a spike or none.
    Spike,
    /// Any whole number of spikes, also a negative one.
    Counts,
    /// Any number: the model does not spike.
    Values,
}

/// A fixed-size array of variables: implemented for `[R; N]`.
pub trait StateArray<R>: Copy + AsRef<[R]> + AsMut<[R]> {
    /// Number of variables.
    const LEN: usize;
    /// Creates the array `value(0), value(1), ..`.
    fn from_fn(value: impl FnMut(usize) -> R) -> Self;
}

impl<R: Copy, const N: usize> StateArray<R> for [R; N] {
    const LEN: usize = N;
    #[inline(always)]
    fn from_fn(value: impl FnMut(usize) -> R) -> Self {
        std::array::from_fn(value)
    }
}

/// Whether a model has a rate; implemented by [`WithRate`] and [`WithoutRate`] only.
pub trait Rates<M>: sealed::Sealed {
    #[doc(hidden)]
    fn of(model: &M) -> Option<&dyn RateNeuron>;
}

/// The model implements [`RateModel`].
#[derive(Clone, Copy, Debug)]
pub enum WithRate {}

/// The model has no rate and can only be trained through time.
#[derive(Clone, Copy, Debug)]
pub enum WithoutRate {}

impl<M: RateModel> Rates<M> for WithRate {
    fn of(model: &M) -> Option<&dyn RateNeuron> {
        Some(model)
    }
}

impl<M> Rates<M> for WithoutRate {
    fn of(_model: &M) -> Option<&dyn RateNeuron> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::WithRate {}
    impl Sealed for super::WithoutRate {}
}
