//! The models that specifications can name.

use std::sync::Arc;

use super::{Lif, Neuron, NeuronError, NeuronModel, RectifiedLinear};

/// Every model that comes with the library. A new one is a file of its own and a line here.
const MODELS: &[Entry] = &[entry::<Lif>(), entry::<RectifiedLinear>()];

struct Entry {
    name: &'static str,
    parse: fn(toml::Table) -> Result<Arc<dyn Neuron>, NeuronError>,
}

const fn entry<M: NeuronModel>() -> Entry {
    Entry { name: M::NAME, parse: parse::<M> }
}

fn parse<M: NeuronModel>(parameters: toml::Table) -> Result<Arc<dyn Neuron>, NeuronError> {
    let model: M = parameters
        .try_into()
        .map_err(|error| NeuronError::Specification { neuron: M::NAME.to_string(), cause: error.to_string() })?;
    model.validate()?;
    Ok(Arc::new(model))
}

/// The names of all models.
pub fn neuron_names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|entry| entry.name)
}

/// Whether `name` is one of them.
pub fn is_neuron(name: &str) -> bool {
    neuron_names().any(|known| known == name)
}

/// The model called `name` with the given parameters, the others at their defaults.
///
/// # Errors
/// If there is no such model, a parameter is unknown or of another type, or a value is not valid.
///
/// ```
/// use tch_spiking::neuron::neuron_from_parameters;
///
/// let lif = neuron_from_parameters("lif", toml::toml! { tau_rc = 0.05 })?;
/// assert_eq!(lif.parameters()["tau_ref"].as_float(), Some(0.002));
/// assert!(neuron_from_parameters("lif", toml::toml! { tau = 0.05 }).is_err());
/// # Ok::<(), tch_spiking::neuron::NeuronError>(())
/// ```
pub fn neuron_from_parameters(name: &str, parameters: toml::Table) -> Result<Arc<dyn Neuron>, NeuronError> {
    match MODELS.iter().find(|entry| entry.name == name) {
        Some(entry) => (entry.parse)(parameters),
        None => Err(NeuronError::Specification {
            neuron: name.to_string(),
            cause: format!("there is no such model; there are {}", neuron_names().collect::<Vec<_>>().join(", ")),
        }),
    }
}
