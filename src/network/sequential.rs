//! The network itself.

use std::sync::atomic::{AtomicU64, Ordering};

use tch::nn::{self, Path};
use tch::{Device, Kind, Tensor};

use super::layer::{Context, Parameters};
use super::shape::show;
use super::{Layer, LayerKind, NetworkError, NetworkSpec, State, streams};
use crate::engine::{self, Activity, EventNetwork, Input, Probe, Recording, Simulation};
use crate::error::Result;
use crate::kernels::Number;

/// Layers in a row, with two faces: differentiable rates to train with, spikes over time to run with.
///
/// | call | computes |
/// |---|---|
/// | [`forward_training`](Self::forward_training) | rates, with dropout and the statistics of the batch; differentiable |
/// | [`forward_rates`](Self::forward_rates) | rates, without dropout, with running statistics |
/// | [`rates_activity`](Self::rates_activity) | either, also over a sequence |
/// | [`simulate`](Self::simulate) | spikes, `T` timesteps from a fresh state, what is probed recorded |
/// | [`step`](Self::step) | spikes, one timestep, for input that streams in |
///
/// [`nn::ModuleT`] is implemented too: `forward_t(x, true)` trains, `forward_t(x, false)` simulates the specification's
/// number of steps and returns the last output. (That trait cannot return an error, so both panic on a wrong input.)
#[derive(Debug)]
pub struct SpikingSequential {
    spec: NetworkSpec,
    seed: u64,
    layers: Vec<Layer>,
    kind: Kind,
    /// Which training step the next dropout belongs to.
    dropout_step: AtomicU64,
}

impl SpikingSequential {
    /// Builds `spec` with parameters under `path` (of its kind, on its device): weights, tunings and initial voltages drawn
    /// from `seed`.
    ///
    /// # Errors
    /// Naming the first layer that does not fit, and why.
    pub fn new(path: &Path, spec: &NetworkSpec, seed: u64) -> Result<Self> {
        spec.validate()?;
        let kind = path.kind();
        if !matches!(kind, Kind::Float | Kind::Double) {
            return Err(NetworkError::Specification(format!("parameters of {kind:?}: expected Float or Double")).into());
        }
        let mut layers: Vec<Layer> = Vec::new();
        for (index, (layer, name)) in spec.layers.iter().zip(spec.layer_names()).enumerate() {
            let fail = |cause: String| NetworkError::Layer {
                number: index + 1,
                kind: layer.kind.type_name().to_string(),
                cause,
            };
            if name.is_empty() || name.contains(['.', '/']) {
                return Err(fail(format!("the name {name:?} is not valid: expected text without `.` and `/`")).into());
            }
            if layers.iter().any(|other| other.name() == name) {
                return Err(fail(format!("there is a layer called {name:?} already")).into());
            }
            let input = layers.last().map_or(spec.input.as_slice(), Layer::output_shape).to_vec();
            let context = Context { path, index, seed, initial_voltage: spec.initial_voltage };
            layers.push(Layer::new(name, layer.kind.clone(), &input, &context).map_err(fail)?);
        }
        Ok(Self { spec: spec.clone(), seed, layers, kind, dropout_step: AtomicU64::new(0) })
    }

    /// What it was built from.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// The seed that it was built with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer of this name.
    pub fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name() == name)
    }

    /// The shape of one image's output.
    pub fn output_shape(&self) -> &[i64] {
        self.layers.last().map_or(&[], Layer::output_shape)
    }

    /// All parameters by name (`conv1.weight`), in the order of the layers; trainable ones require a gradient.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let named = |layer: &Layer| -> Vec<_> {
            let of_layer = layer.named_parameters().into_iter();
            of_layer.map(|(name, tensor)| (format!("{}.{name}", layer.name()), tensor.shallow_clone())).collect()
        };
        self.layers.iter().flat_map(named).collect()
    }

    /// The device that the parameters are on.
    pub fn device(&self) -> Device {
        self.named_parameters().first().map_or(Device::Cpu, |(_, tensor)| tensor.device())
    }

    /// The kind of the parameters, and so of inputs.
    pub fn kind(&self) -> Kind {
        self.named_parameters().first().map_or(self.kind, |(_, tensor)| tensor.kind())
    }

    /// Rates, with dropout, and batch normalisation by the statistics of the batch (which moves the running ones): what
    /// training differentiates. `[B, input]` to `[B, output]`.
    ///
    /// Images of `BFloat16` make it mixed precision: what lies between the layers is `BFloat16`, and convolutions and linear
    /// layers compute in it; parameters, their gradients, the arithmetic of neurons and the output stay of the network's kind.
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn forward_training(&self, input: &Tensor) -> Result<Tensor> {
        let step = self.dropout_step.fetch_add(1, Ordering::Relaxed);
        self.rates(input, Some(step))
    }

    /// Rates, without dropout, normalised by running statistics. `[B, input]` to `[B, output]`. Images may be of `BFloat16`, as in
    /// [`forward_training`](Self::forward_training).
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn forward_rates(&self, input: &Tensor) -> Result<Tensor> {
        self.rates(input, None)
    }

    fn rates(&self, input: &Tensor, dropout_step: Option<u64>) -> Result<Tensor> {
        Ok(self.rates_activity(&Activity::Constant(input.shallow_clone()), dropout_step)?.into_tensor())
    }

    /// Rates of a constant or varying input: what [`forward_training`](Self::forward_training) computes if this is a training
    /// step, whose number its dropout is drawn from, and [`forward_rates`](Self::forward_rates) without one. Differentiable.
    ///
    /// Over a sequence, `[T, B, input]` to `[T, B, output]`, the neurons have at every timestep the rate of that timestep's
    /// current, and synapses filter over time from a zero state. (Dropout draws anew for every timestep, and the statistics of
    /// a batch normalisation are those of all timesteps.)
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn rates_activity(&self, input: &Activity, dropout_step: Option<u64>) -> Result<Activity> {
        self.check_rates_input(input)?;
        let mut activity = input.shallow_clone();
        for index in 0..self.layers.len() {
            activity = self.layer_activity(index, &activity, dropout_step)?;
        }
        Ok(activity.to_kind(self.kind())?)
    }

    /// The rates of one layer, over time where its input varies.
    pub(crate) fn layer_activity(&self, index: usize, input: &Activity, dropout_step: Option<u64>) -> Result<Activity> {
        match (self.layers[index].kind(), input) {
            (LayerKind::Synapse(synapse), Activity::Varying(sequence)) => {
                // In the kind of the parameters: `1 - dt / tau` has more bits than a shorter one keeps.
                let sequence = sequence.f_to_kind(self.kind())?;
                let rest = sequence.f_select(0, 0)?.f_zeros_like()?.f_detach()?;
                let mut state: Vec<Tensor> = (0..synapse.state_len()).map(|_| rest.shallow_clone()).collect();
                let filtered = synapse.filter(&sequence, self.spec.dt, &mut state)?;
                Ok(Activity::Varying(filtered.f_to_kind(input.kind())?))
            }
            _ => input.map(|batch| self.layer_rates(index, batch, dropout_step)),
        }
    }

    /// The rates of one layer.
    pub(crate) fn layer_rates(&self, index: usize, input: &Tensor, dropout_step: Option<u64>) -> Result<Tensor> {
        let stream = dropout_step.map(|step| streams::dropout(self.seed, index, step));
        self.layers[index].rates(input, self.kind(), stream)
    }

    /// As for simulations, but in mixed precision the images may be of a shorter kind.
    fn check_rates_input(&self, input: &Activity) -> Result<(), NetworkError> {
        let kind = match (input.kind(), self.kind()) {
            (Kind::BFloat16, Kind::Float) => Kind::BFloat16,
            (_, own) => own,
        };
        self.check_input_of_kind(input.tensor(), input.leading(), kind)
    }

    /// The first layer whose rates hold a NaN or an infinity for this input, if any.
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn first_non_finite_layer(&self, input: &Tensor) -> Result<Option<&Layer>> {
        self.first_non_finite(&Activity::Constant(input.shallow_clone()))
    }

    /// The same for an input that may vary.
    pub(crate) fn first_non_finite(&self, input: &Activity) -> Result<Option<&Layer>> {
        let _without_gradient = tch::no_grad_guard();
        self.check_rates_input(input)?;
        let mut activity = input.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            activity = self.layer_activity(index, &activity, None)?;
            if activity.tensor().f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Ok(Some(layer));
            }
        }
        Ok(None)
    }

    /// Sets which training step the next [`forward_training`](Self::forward_training) is, for its dropout; it then counts on.
    pub fn set_training_step(&self, step: u64) {
        self.dropout_step.store(step, Ordering::Relaxed);
    }

    /// A fresh state for `batch` images: initial voltages, no refractory times, empty filters.
    ///
    /// # Errors
    /// If `batch` is below 1 or memory runs out.
    pub fn zero_state(&self, batch: i64) -> Result<State> {
        if batch < 1 {
            return Err(NetworkError::State(format!("a batch of {batch} images")).into());
        }
        let _without_gradient = tch::no_grad_guard();
        let options = (self.kind(), self.device());
        let of_layer = |layer: &Layer| -> Result<Vec<Tensor>> {
            let shape = [&[batch], layer.output_shape()].concat();
            Ok(match (&layer.parameters, layer.kind()) {
                (Parameters::Neurons(neurons), _) => {
                    let voltage = neurons.initial_voltage.f_to_device(options.1)?.f_to_kind(options.0)?;
                    let zeros = || Tensor::f_zeros(&shape, options);
                    let others = (1..neurons.model.state_names().len()).map(|_| zeros());
                    let voltage = voltage.f_expand(&shape, false)?.f_contiguous();
                    std::iter::once(voltage).chain(others).collect::<Result<_, _>>()?
                }
                (_, LayerKind::Synapse(synapse)) => {
                    (0..synapse.state_len()).map(|_| Tensor::f_zeros(&shape, options)).collect::<Result<_, _>>()?
                }
                _ => vec![],
            })
        };
        Ok(State { batch, layers: self.layers.iter().map(of_layer).collect::<Result<_>>()? })
    }

    /// A copy of the network laid out for the event engine: single images on the CPU, without libtorch. `R` is the number
    /// type to compute in, `f32` or `f64`.
    ///
    /// # Errors
    /// If the network is not on the CPU or has a custom layer.
    pub fn compile<R: Number>(&self) -> Result<EventNetwork<R>> {
        EventNetwork::new(self)
    }

    /// One timestep with `input` `[B, input]`: the output `[B, output]`, with `state` moved on. For input that streams in.
    ///
    /// # Errors
    /// If input or state do not fit the network.
    pub fn step(&self, input: &Tensor, state: &mut State) -> Result<Tensor> {
        self.check_input(input, 1)?;
        let recording = engine::dense::run(self, Input::Constant(input), 1, state, &[])?;
        Ok(recording.output.f_squeeze_dim(0)?)
    }

    /// `steps` timesteps with the constant `input` `[B, input]`, from a fresh state; the output over time and all that is
    /// probed are in the [`Recording`].
    ///
    /// # Errors
    /// If the input does not fit, `steps` is below 1, or a probe names something that is not there.
    pub fn simulate(&self, input: &Tensor, steps: i64, probes: &[Probe]) -> Result<Recording> {
        Simulation { steps, probes, ..Simulation::default() }.run(self, Input::Constant(input))
    }

    /// The same with an input for every timestep, `[T, B, input]`.
    ///
    /// # Errors
    /// As for [`simulate`](Self::simulate).
    pub fn simulate_sequence(&self, input: &Tensor, probes: &[Probe]) -> Result<Recording> {
        let steps = input.size().first().copied().unwrap_or(0);
        Simulation { steps, probes, ..Simulation::default() }.run(self, Input::Sequence(input))
    }

    /// Checks that `input` is `[.., input]` with `leading` dimensions before the image, of the network's kind and device.
    pub(crate) fn check_input(&self, input: &Tensor, leading: usize) -> Result<(), NetworkError> {
        self.check_input_of_kind(input, leading, self.kind())
    }

    fn check_input_of_kind(&self, input: &Tensor, leading: usize, kind: Kind) -> Result<(), NetworkError> {
        let size = input.size();
        let fits = size.len() == leading + self.spec.input.len() && size.ends_with(&self.spec.input);
        let empty = size.iter().take(leading).any(|&size| size < 1);
        let device = self.device();
        if fits && !empty && input.kind() == kind && input.device() == device {
            return Ok(());
        }
        let dimensions = if leading == 1 { "batch" } else { "steps x batch" };
        Err(NetworkError::Input {
            expected: format!("{dimensions} x {} of {kind:?} on {device:?}", show(&self.spec.input)),
            found: format!("{} of {:?} on {:?}", show(&size), input.kind(), input.device()),
        })
    }
}

impl nn::ModuleT for SpikingSequential {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        let output = match train {
            true => self.forward_training(input),
            false => self.simulate(input, self.spec.steps, &[]).map(|recording| recording.last_output()),
        };
        // The trait leaves no other way; tch's own layers do the same.
        output.unwrap_or_else(|error| panic!("{error}"))
    }
}
