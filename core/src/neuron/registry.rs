//! The registry of models available to specifications.

use std::any::TypeId;
use std::sync::{PoisonError, RwLock};

use super::{
    AdaptiveLif, Izhikevich, Leaky, LeakyIntegrator, LeakyRectifiedLinear, Lif, Neuron, NeuronError, NeuronModel,
    PoissonSpiking, RectifiedLinear, RegularSpiking, StochasticSpiking, Synaptic,
};
use crate::names;

/// The registered models, built-in ones first; programs add their own with [`register_neuron`].
static MODELS: RwLock<Vec<Entry>> = RwLock::new(Vec::new());
const OWN: &[Entry] = &[
    entry::<Lif>(),
    entry::<RectifiedLinear>(),
    entry::<LeakyRectifiedLinear>(),
    entry::<RegularSpiking>(),
    entry::<StochasticSpiking>(),
    entry::<PoissonSpiking>(),
    entry::<Leaky>(),
    entry::<Synaptic>(),
    entry::<AdaptiveLif>(),
    entry::<LeakyIntegrator>(),
    entry::<Izhikevich>(),
];

#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    model: fn() -> TypeId,
    parse: fn(toml::Table) -> Result<Neuron, NeuronError>,
}

const fn entry<M: NeuronModel>() -> Entry {
    Entry { name: M::NAME, model: TypeId::of::<M>, parse: parse::<M> }
}

fn parse<M: NeuronModel>(parameters: toml::Table) -> Result<Neuron, NeuronError> {
    let model: M = parameters.try_into().map_err(|error: toml::de::Error| NeuronError::Specification {
        neuron: M::NAME.to_string(),
        cause: error.to_string(),
    })?;
    let neuron = Neuron::new(model);
    neuron.validate()?;
    Ok(neuron)
}

fn entries() -> Vec<Entry> {
    let added = MODELS.read().unwrap_or_else(PoisonError::into_inner);
    OWN.iter().chain(added.iter()).copied().collect()
}

/// Registers the model `M` under its name for specifications and weights files, for the rest of the process.
///
/// # Errors
/// Returns an error if another model or layer type has that name. (Registering the same model twice is fine.)
///
/// `examples/06_custom_neuron.rs` registers a model and builds a network with it from TOML.
pub fn register_neuron<M: NeuronModel>() -> Result<(), NeuronError> {
    let fail = |cause: String| NeuronError::Specification { neuron: M::NAME.to_string(), cause };
    if let Some(own) = OWN.iter().find(|own| own.name == M::NAME) {
        let same = (own.model)() == TypeId::of::<M>();
        return if same {
            Ok(())
        } else {
            Err(fail("the library already has a model with this name: choose another name".to_string()))
        };
    }
    names::claim(M::NAME, TypeId::of::<M>()).map_err(fail)?;
    let mut added = MODELS.write().unwrap_or_else(PoisonError::into_inner);
    if added.iter().all(|known| known.name != M::NAME) {
        added.push(entry::<M>());
    }
    Ok(())
}

/// Returns the names of all models.
pub fn neuron_names() -> Vec<&'static str> {
    entries().iter().map(|entry| entry.name).collect()
}

/// Returns whether `name` is a registered model.
pub fn is_neuron(name: &str) -> bool {
    neuron_names().contains(&name)
}

/// Creates the model named `name` with the given parameters, the others at their defaults.
///
/// # Errors
/// Returns an error if there is no such model, a parameter is unknown or has the wrong type, or a value is not valid.
///
/// ```
/// use tch_spiking_core::neuron::neuron_from_parameters;
///
/// let lif = neuron_from_parameters("lif", toml::toml! { tau_rc = 0.05 })?;
/// assert_eq!(lif.parameters()["tau_ref"].as_float(), Some(0.002));
/// assert!(neuron_from_parameters("lif", toml::toml! { tau = 0.05 }).is_err());
/// # Ok::<(), tch_spiking_core::neuron::NeuronError>(())
/// ```
pub fn neuron_from_parameters(name: &str, parameters: toml::Table) -> Result<Neuron, NeuronError> {
    match entries().into_iter().find(|entry| entry.name == name) {
        Some(entry) => (entry.parse)(parameters),
        None => Err(NeuronError::Specification {
            neuron: name.to_string(),
            cause: format!("there is no such model; available: {}", neuron_names().join(", ")),
        }),
    }
}
