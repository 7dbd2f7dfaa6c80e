//! Layers of a program's own.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::ParameterSpec;
use crate::names;
use crate::neuron::is_neuron;

/// A layer that is not one of the library's: what a specification needs to know of it.
///
/// What it computes is up to the crate that runs the network.
pub trait CustomLayer: Any + fmt::Debug + Send + Sync {
    /// The type as configurations name it.
    fn type_name(&self) -> &str;

    /// The shape of one sample of output, from those of the inputs.
    ///
    /// # Errors
    /// What was expected and what came.
    fn output_shape(&self, inputs: &[&[i64]]) -> Result<Vec<i64>, String>;

    /// The parameters that it declares.
    fn parameters(&self, _inputs: &[&[i64]]) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// Whether it takes several inputs.
    fn takes_several(&self) -> bool {
        false
    }

    /// Its own parameters as a table, if it can be written to a file: then its type must be [registered](register_layer).
    fn to_table(&self) -> Option<toml::Table> {
        None
    }
}

/// A [`CustomLayer`], shared.
#[derive(Clone)]
pub struct Custom(Arc<dyn CustomLayer>);

impl Custom {
    /// Wraps `layer`.
    pub fn of(layer: impl CustomLayer) -> Self {
        Self(Arc::new(layer))
    }

    /// The layer itself, if it is an `L`.
    pub fn downcast_ref<L: CustomLayer>(&self) -> Option<&L> {
        let any: &dyn Any = self.0.as_ref();
        any.downcast_ref()
    }
}

impl std::ops::Deref for Custom {
    type Target = dyn CustomLayer;
    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

type Parse = fn(toml::Table) -> Result<Custom, String>;

static LAYERS: RwLock<Vec<(String, Parse)>> = RwLock::new(Vec::new());

/// Makes a layer type known to specifications and weights files, for the rest of the process: `parse` makes the layer from its
/// table, in which `type`, `name` and `from` are no longer present.
///
/// # Errors
/// If a layer type or neuron model has that name already. (The same function twice is fine.)
pub fn register_layer(name: &str, parse: Parse) -> Result<(), String> {
    if let Some(known) = registered(name) {
        let same = std::ptr::fn_addr_eq(known, parse);
        return if same {
            Ok(())
        } else {
            Err(format!("the layer type {name:?} is registered already: choose another name"))
        };
    }
    if is_neuron(name) {
        return Err(format!("there is a neuron model called {name:?} already: choose another name"));
    }
    names::claim(name, TypeId::of::<Custom>())?;
    let mut layers = LAYERS.write().unwrap_or_else(PoisonError::into_inner);
    if layers.iter().all(|(known, _)| known != name) {
        layers.push((name.to_string(), parse));
    }
    Ok(())
}

/// How a registered type is made from its table.
pub(super) fn registered(name: &str) -> Option<Parse> {
    let layers = LAYERS.read().unwrap_or_else(PoisonError::into_inner);
    layers.iter().find(|(known, _)| known == name).map(|(_, parse)| *parse)
}

/// The names of all registered types.
pub(super) fn registered_names() -> Vec<String> {
    let layers = LAYERS.read().unwrap_or_else(PoisonError::into_inner);
    layers.iter().map(|(name, _)| name.clone()).collect()
}
