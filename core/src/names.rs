//! The names that layers can have as types: each stands for one thing, whoever adds it.

use std::any::TypeId;
use std::sync::{PoisonError, RwLock};

/// The layer types that come with the library; neurons are added to them.
pub(crate) const LAYER_TYPES: [&str; 13] = [
    "conv2d",
    "linear",
    "avg_pool",
    "max_pool",
    "flatten",
    "dropout",
    "relu",
    "leaky_relu",
    "batch_norm",
    "lowpass",
    "alpha",
    "add",
    "concat",
];

/// The names that a program has added, and what for.
static TAKEN: RwLock<Vec<(String, TypeId)>> = RwLock::new(Vec::new());

/// Takes `name` for `owner`, for the rest of the process. The same owner may take it again.
///
/// # Errors
/// If it stands for something else already.
pub(crate) fn claim(name: &str, owner: TypeId) -> Result<(), String> {
    let mut taken = TAKEN.write().unwrap_or_else(PoisonError::into_inner);
    match taken.iter().find(|(known, _)| known == name) {
        Some((_, known)) if *known == owner => Ok(()),
        None if !LAYER_TYPES.contains(&name) => {
            taken.push((name.to_string(), owner));
            Ok(())
        }
        _ => Err(format!("there is a layer type or neuron model called {name:?} already: choose another name")),
    }
}
