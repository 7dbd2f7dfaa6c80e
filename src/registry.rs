//! A registry of named values that programs can extend.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by name, for the whole process; values are added but never removed.
pub(crate) struct Registry<T> {
    entries: Mutex<Vec<(String, T)>>,
}

impl<T: Clone> Registry<T> {
    /// Creates an empty registry.
    pub(crate) const fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()) }
    }

    /// Adds `value` under `name`; returns `false` without changing anything if the name is taken.
    pub(crate) fn add(&self, name: &str, value: T) -> bool {
        let mut entries = self.entries();
        let free = entries.iter().all(|(known, _)| known != name);
        if free {
            entries.push((name.to_string(), value));
        }
        free
    }

    /// Returns the value under `name`.
    pub(crate) fn get(&self, name: &str) -> Option<T> {
        self.entries().iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// Returns all names in the order of registration.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entries().iter().map(|(name, _)| name.clone()).collect()
    }

    /// Locks the entries. They are consistent whenever the lock is free, so a poisoned lock can be used.
    fn entries(&self) -> MutexGuard<'_, Vec<(String, T)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the message for an unknown name in serde's format, so that an experiment file's error can suggest the
/// nearest name.
pub(crate) fn unknown(what: &str, name: &str, known: &[String]) -> String {
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("unknown {what} `{name}`, expected one of {}", known.join(", "))
}
