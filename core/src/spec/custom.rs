//! Custom layer types.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::ParameterSpec;
use crate::names;
use crate::neuron::is_neuron;

/// A custom layer: what a specification needs to know about it.
///
/// The crate that runs the network defines what the layer computes.
pub trait CustomLayer: Any + fmt::Debug + Send + Sync {
    /// Returns the type's name in configurations.
    fn type_name(&self) -> &str;

    /// Computes the output shape of one sample from the input shapes.
    ///
    /// # Errors
    /// Returns what was expected and what was found.
    fn output_shape(&self, inputs: &[&[i64]]) -> Result<Vec<i64>, String>;

    /// Returns the parameters that the layer declares.
    fn parameters(&self, _inputs: &[&[i64]]) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// Returns whether the layer accepts several inputs.
    fn takes_several(&self) -> bool {
        false
    }

    /// Returns the layer's settings as a table, if it can be written to a file; its type must be
    /// [registered](register_layer).
    fn to_table(&self) -> Option<toml::Table> {
        None
    }
}

/// A shared [`CustomLayer`].
#[derive(Clone)]
pub struct Custom(Arc<dyn CustomLayer>);

impl Custom {
    /// Wraps `layer`.
    pub fn of(layer: impl CustomLayer) -> Self {
        Self(Arc::new(layer))
    }

    /// Returns the layer itself, if it is an `L`.
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

/// Registers a layer type for specifications and weights files, for the rest of the process.
///
/// `parse` creates the layer from its table, from which `type`, `name` and `from` have been removed.
///
/// # Errors
/// Returns an error if a layer type or neuron model has that name. (Registering the same function twice is fine.)
pub fn register_layer(name: &str, parse: Parse) -> Result<(), String> {
    if let Some(known) = registered(name) {
        let same = std::ptr::fn_addr_eq(known, parse);
        return if same {
            Ok(())
        } else {
            Err(format!("the layer type {name:?} is already registered: choose another name"))
        };
    }
    if is_neuron(name) {
        return Err(format!("a neuron model named {name:?} already exists: choose another name"));
    }
    names::claim(name, TypeId::of::<Custom>())?;
    let mut layers = LAYERS.write().unwrap_or_else(PoisonError::into_inner);
    if layers.iter().all(|(known, _)| known != name) {
        layers.push((name.to_string(), parse));
    }
    Ok(())
}

/// Returns the function that parses a registered type.
pub(super) fn registered(name: &str) -> Option<Parse> {
    let layers = LAYERS.read().unwrap_or_else(PoisonError::into_inner);
    layers.iter().find(|(known, _)| known == name).map(|(_, parse)| *parse)
}

/// Returns the names of all registered types.
pub(super) fn registered_names() -> Vec<String> {
    let layers = LAYERS.read().unwrap_or_else(PoisonError::into_inner);
    layers.iter().map(|(name, _)| name.clone()).collect()
}
