//! Type-erased neuron models.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{
    Formula, Learned, NeuronError, NeuronModel, Output, Rate, RateModel, Rates, Recorded, StateArray, StateVariable,
};
use super::{Operation, StepInput, Traced};
use crate::kernels::{AdvanceBlock, AdvanceGradientBlock, GradientBlock, Number, RateBlock, Stored};
use crate::kernels::{MAX_FIRE, advance, advance_backward, rate_backward, rate_forward};
use half::bf16;

/// A type-erased [`NeuronModel`], as layers hold it. Cheap to clone.
///
/// ```
/// use tch_spiking_core::neuron::{Lif, Neuron};
///
/// let neuron = Neuron::new(Lif::default());
/// assert_eq!(neuron.name(), "lif");
/// assert_eq!(neuron.rate().map(|rate| rate.max_rate()), Some(500.0));
/// assert!(neuron.downcast_ref::<Lif>().is_some());
/// ```
#[derive(Clone)]
pub struct Neuron {
    model: Arc<dyn Erased>,
}

/// The keys of a layer of neurons in a specification, beside its model's parameters.
pub(crate) const LAYER_KEYS: [&str; 11] = [
    "type",
    "name",
    "from",
    "max_rate",
    "intercept",
    "gain",
    "bias",
    "trainable_bias",
    "firing_rate_scale",
    "learn",
    "learn_per",
];

/// What a [`Neuron`] asks of its model; every [`NeuronModel`] implements it.
trait Erased: Any + fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn state(&self) -> &'static [StateVariable];
    fn learned(&self) -> &'static [Learned];
    fn values(&self, dt: f64) -> Vec<f64>;
    fn output(&self) -> Output;
    fn is_noisy(&self) -> bool;
    fn parameters(&self) -> toml::Table;
    fn check(&self) -> Result<(), NeuronError>;
    fn integral(&self) -> f64;
    fn with_parameters(&self, parameters: toml::Table) -> Result<Neuron, NeuronError>;
    fn step_formula(&self, dt: f64) -> Formula;
    fn advance_f32(&self, block: AdvanceBlock<f32>);
    fn advance_f64(&self, block: AdvanceBlock<f64>);
    fn advance_backward_f32(&self, block: AdvanceGradientBlock<f32>);
    fn advance_backward_f64(&self, block: AdvanceGradientBlock<f64>);
    fn rates(&self) -> Option<&dyn RateNeuron>;
    fn equals(&self, other: &dyn Any) -> bool;
}

/// The firing rate of a type-erased model; every [`RateModel`] implements it.
pub trait RateNeuron: sealed::Sealed + Send + Sync {
    /// Returns the highest firing rate (Hz); see [`RateModel::max_rate`].
    fn max_rate(&self) -> f64;
    /// Computes gain and bias; see [`RateModel::gain_bias`].
    ///
    /// # Errors
    /// Returns an error if no gain and bias satisfy the request.
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError>;
    /// Computes the output and its derivative at one current.
    fn at(&self, current: f64) -> Rate<f64>;
    /// Records [`RateModel::rate`] as a formula from the current to the output and its derivative.
    fn formula(&self) -> Formula;
    #[doc(hidden)]
    fn forward_f32(&self, block: RateBlock<f32>);
    #[doc(hidden)]
    fn forward_f64(&self, block: RateBlock<f64>);
    #[doc(hidden)]
    fn forward_bf16(&self, block: RateBlock<bf16>);
    #[doc(hidden)]
    fn backward_f32(&self, block: GradientBlock<f32>);
    #[doc(hidden)]
    fn backward_f64(&self, block: GradientBlock<f64>);
    #[doc(hidden)]
    fn backward_bf16(&self, block: GradientBlock<bf16>);
}

impl dyn RateNeuron + '_ {
    /// Computes the rates of a block of neurons.
    pub fn forward<S: Stored>(&self, block: RateBlock<S>) {
        S::rate_forward(self, block);
    }
    /// Computes the gradients of a block of neurons.
    pub fn backward<S: Stored>(&self, block: GradientBlock<S>) {
        S::rate_backward(self, block);
    }
}

impl Neuron {
    /// Wraps `model`.
    pub fn new(model: impl NeuronModel) -> Self {
        Self { model: Arc::new(model) }
    }

    /// Returns the model's name, such as `lif`.
    pub fn name(&self) -> &'static str {
        self.model.name()
    }

    /// Returns the state variables.
    pub fn state(&self) -> &'static [StateVariable] {
        self.model.state()
    }

    /// Returns the parameters that training can change.
    pub fn learned(&self) -> &'static [Learned] {
        self.model.learned()
    }

    /// Returns the values of these parameters before training; see [`NeuronModel::learned_values`].
    pub fn learned_values(&self, dt: f64) -> Vec<f64> {
        self.model.values(dt)
    }

    /// Returns what the output of a step is.
    pub fn output(&self) -> Output {
        self.model.output()
    }

    /// Returns whether the step uses random numbers.
    pub fn is_noisy(&self) -> bool {
        self.model.is_noisy()
    }

    /// Returns the model's parameters by name.
    pub fn parameters(&self) -> toml::Table {
        self.model.parameters()
    }

    /// Validates the parameters; see [`NeuronModel::validate`].
    ///
    /// # Errors
    /// Returns an error that names the invalid parameter.
    pub fn validate(&self) -> Result<(), NeuronError> {
        self.model.check()
    }

    /// Returns the amplitude; see [`NeuronModel::amplitude`].
    pub fn amplitude(&self) -> f64 {
        self.model.integral()
    }

    /// Returns a copy of the model with this amplitude.
    ///
    /// # Errors
    /// Returns an error if the model has no parameter named `amplitude`, or the amplitude is not valid.
    pub fn with_amplitude(&self, amplitude: f64) -> Result<Self, NeuronError> {
        let mut parameters = self.parameters();
        if parameters.insert("amplitude".to_string(), amplitude.into()).is_none() {
            let cause = "it has no parameter named `amplitude`, so its spikes cannot be scaled".to_string();
            return Err(NeuronError::Specification { neuron: self.name().to_string(), cause });
        }
        self.model.with_parameters(parameters)
    }

    /// Returns the model's rate, if it has one.
    pub fn rate(&self) -> Option<&dyn RateNeuron> {
        self.model.rates()
    }

    /// Returns the model's rate.
    ///
    /// # Errors
    /// Returns [`NeuronError::NoRate`] if the model has none.
    pub fn require_rate(&self) -> Result<&dyn RateNeuron, NeuronError> {
        self.rate().ok_or_else(|| NeuronError::NoRate { neuron: self.name() })
    }

    /// Records [`NeuronModel::step`] of `dt` seconds as a formula.
    ///
    /// Inputs: the current, the learned parameters, the uniform random number (if the model is noisy) and the state
    /// variables. Outputs: the output and the new state variables.
    pub fn step_formula(&self, dt: f64) -> Formula {
        self.model.step_formula(dt)
    }

    /// Advances a block of neurons in place; panics if the lengths of the slices do not match.
    pub fn advance<R: Number>(&self, block: AdvanceBlock<R>) {
        R::advance(self, block);
    }

    /// Computes the gradients of a block of neurons through time; panics if the lengths of the slices do not match.
    pub fn advance_backward<R: Number>(&self, block: AdvanceGradientBlock<R>) {
        R::advance_backward(self, block);
    }

    pub(crate) fn advance_f32(&self, block: AdvanceBlock<f32>) {
        self.model.advance_f32(block);
    }

    pub(crate) fn advance_f64(&self, block: AdvanceBlock<f64>) {
        self.model.advance_f64(block);
    }

    pub(crate) fn advance_backward_f32(&self, block: AdvanceGradientBlock<f32>) {
        self.model.advance_backward_f32(block);
    }

    pub(crate) fn advance_backward_f64(&self, block: AdvanceGradientBlock<f64>) {
        self.model.advance_backward_f64(block);
    }

    /// Returns the model itself, if it is an `M`.
    pub fn downcast_ref<M: NeuronModel>(&self) -> Option<&M> {
        let any: &dyn Any = self.model.as_ref();
        any.downcast_ref()
    }
}

impl fmt::Debug for Neuron {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.model.fmt(f)
    }
}

impl PartialEq for Neuron {
    fn eq(&self, other: &Self) -> bool {
        self.model.equals(other.model.as_ref())
    }
}

impl<M: NeuronModel> From<M> for Neuron {
    fn from(model: M) -> Self {
        Self::new(model)
    }
}

impl From<&Neuron> for Neuron {
    fn from(neuron: &Neuron) -> Self {
        neuron.clone()
    }
}

impl<M: NeuronModel> Erased for M {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn state(&self) -> &'static [StateVariable] {
        M::STATE
    }
    fn learned(&self) -> &'static [Learned] {
        M::LEARNED
    }
    fn values(&self, dt: f64) -> Vec<f64> {
        self.learned_values(dt).as_ref().to_vec()
    }
    fn output(&self) -> Output {
        M::OUTPUT
    }
    fn is_noisy(&self) -> bool {
        M::NOISY
    }
    fn parameters(&self) -> toml::Table {
        // A model is a struct of numbers; any other type has no parameters to show.
        toml::Table::try_from(self).unwrap_or_default()
    }
    fn check(&self) -> Result<(), NeuronError> {
        let (variables, learned) = (<M::State<f32> as StateArray<f32>>::LEN, <M::Learned<f32> as StateArray<f32>>::LEN);
        let fits = variables == M::STATE.len() && learned == M::LEARNED.len();
        if !fits || !(1..=crate::kernels::MAX_STATE).contains(&variables) || learned > crate::kernels::MAX_LEARNED {
            return Err(NeuronError::Specification {
                neuron: M::NAME.to_string(),
                cause: format!(
                    "expected 1 to {} state variables and at most {} learned parameters, each declared; found {variables} \
                     and {learned}, declared {} and {}",
                    crate::kernels::MAX_STATE,
                    crate::kernels::MAX_LEARNED,
                    M::STATE.len(),
                    M::LEARNED.len()
                ),
            });
        }
        // The timestep does not change which operations there are.
        let operations = self.step_formula(1.0);
        let spikes = operations.operations().iter().filter(|operation| matches!(operation, Operation::Fire(_))).count();
        if spikes > MAX_FIRE {
            let cause = format!("its step calls Fire::once {spikes} times: expected at most {MAX_FIRE}");
            return Err(NeuronError::Specification { neuron: M::NAME.to_string(), cause });
        }
        let own = Erased::parameters(self);
        let learned = M::LEARNED.iter().flat_map(|learned| [learned.name.to_string(), learned.tensor_name()]);
        if let Some(name) = own.keys().cloned().chain(learned).find(|name| LAYER_KEYS.contains(&name.as_str())) {
            let cause =
                format!("its parameter `{name}` has the name of a key that every layer of neurons has: rename it");
            return Err(NeuronError::Specification { neuron: M::NAME.to_string(), cause });
        }
        self.validate()
    }
    fn integral(&self) -> f64 {
        self.amplitude()
    }
    fn with_parameters(&self, parameters: toml::Table) -> Result<Neuron, NeuronError> {
        let fail = |cause: String| NeuronError::Specification { neuron: M::NAME.to_string(), cause };
        let model: M = parameters.try_into().map_err(|error: toml::de::Error| fail(error.message().to_string()))?;
        model.validate()?;
        Ok(Neuron::new(model))
    }
    fn step_formula(&self, dt: f64) -> Formula {
        let (learned, variables) = (M::LEARNED.len(), M::STATE.len());
        let noise = usize::from(M::NOISY);
        Formula::record(1 + learned + noise + variables, |inputs| {
            let uniform = if M::NOISY { inputs[1 + learned] } else { inputs[0] };
            let input = StepInput {
                current: inputs[0],
                learned: M::Learned::<Traced>::from_fn(|index| inputs[1 + index]),
                uniform,
                dt,
            };
            let mut state = M::State::<Traced>::from_fn(|variable| inputs[1 + learned + noise + variable]);
            let output = self.step(input, &mut state, &Recorded);
            std::iter::once(output).chain(state.as_ref().iter().copied()).collect()
        })
    }
    fn advance_f32(&self, block: AdvanceBlock<f32>) {
        advance(self, block);
    }
    fn advance_f64(&self, block: AdvanceBlock<f64>) {
        advance(self, block);
    }
    fn advance_backward_f32(&self, block: AdvanceGradientBlock<f32>) {
        advance_backward(self, block);
    }
    fn advance_backward_f64(&self, block: AdvanceGradientBlock<f64>) {
        advance_backward(self, block);
    }
    fn rates(&self) -> Option<&dyn RateNeuron> {
        M::Rates::of(self)
    }
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<M>() == Some(self)
    }
}

impl<M: RateModel> sealed::Sealed for M {}

impl<M: RateModel> RateNeuron for M {
    fn max_rate(&self) -> f64 {
        RateModel::max_rate(self)
    }
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError> {
        RateModel::gain_bias(self, max_rate, intercept)
    }
    fn at(&self, current: f64) -> Rate<f64> {
        RateModel::rate(self, current)
    }
    fn formula(&self) -> Formula {
        Formula::record(1, |current| {
            let rate = RateModel::rate(self, current[0]);
            vec![rate.value, rate.derivative]
        })
    }
    fn forward_f32(&self, block: RateBlock<f32>) {
        rate_forward(self, block);
    }
    fn forward_f64(&self, block: RateBlock<f64>) {
        rate_forward(self, block);
    }
    fn forward_bf16(&self, block: RateBlock<bf16>) {
        rate_forward(self, block);
    }
    fn backward_f32(&self, block: GradientBlock<f32>) {
        rate_backward(self, block);
    }
    fn backward_f64(&self, block: GradientBlock<f64>) {
        rate_backward(self, block);
    }
    fn backward_bf16(&self, block: GradientBlock<bf16>) {
        rate_backward(self, block);
    }
}

mod sealed {
    pub trait Sealed {}
}
