//! Keeps the names of layer types unique across built-in and registered types.

use std::any::TypeId;
use std::sync::{PoisonError, RwLock};

/// The built-in layer types other than neuron models.
pub(crate) const LAYER_TYPES: [&str; 15] = [
    "conv2d",
    "linear",
    "avg_pool",
    "max_pool",
    "flatten",
    "dropout",
    "relu",
    "leaky_relu",
    "scale",
    "batch_norm",
    "standardize",
    "lowpass",
    "alpha",
    "add",
    "concat",
];

/// The names registered by the program, with the type that owns each.
static TAKEN: RwLock<Vec<(String, TypeId)>> = RwLock::new(Vec::new());

/// Reserves `name` for `owner` for the rest of the process. The same owner may reserve it again.
///
/// # Errors
/// Returns an error if the name is already in use for something else.
pub(crate) fn claim(name: &str, owner: TypeId) -> Result<(), String> {
    let mut taken = TAKEN.write().unwrap_or_else(PoisonError::into_inner);
    match taken.iter().find(|(known, _)| known == name) {
        Some((_, known)) if *known == owner => Ok(()),
        None if !LAYER_TYPES.contains(&name) => {
            taken.push((name.to_string(), owner));
            Ok(())
        }
        _ => Err(format!("a layer type or neuron model named {name:?} already exists: choose another name")),
    }
}
