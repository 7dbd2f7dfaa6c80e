//! What a program adds to the names that files can use.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by name, for the whole process: a program adds to them, nothing is ever taken away.
pub(crate) struct Registry<T> {
    entries: Mutex<Vec<(String, T)>>,
}

impl<T: Clone> Registry<T> {
    /// Without entries.
    pub(crate) const fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()) }
    }

    /// Adds `value` under `name`; `false`, and nothing is changed, if the name is taken.
    pub(crate) fn add(&self, name: &str, value: T) -> bool {
        let mut entries = self.entries();
        let free = entries.iter().all(|(known, _)| known != name);
        if free {
            entries.push((name.to_string(), value));
        }
        free
    }

    /// The value under `name`.
    pub(crate) fn get(&self, name: &str) -> Option<T> {
        self.entries().iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// All names, in the order in which they were added.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entries().iter().map(|(name, _)| name.clone()).collect()
    }

    /// Entries are whole whenever the lock is free, so that a panic elsewhere does not spoil them.
    fn entries(&self) -> MutexGuard<'_, Vec<(String, T)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message of an unknown name, in serde's form, so that an experiment file's error can suggest the nearest known one.
pub(crate) fn unknown(what: &str, name: &str, known: &[String]) -> String {
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("unknown {what} `{name}`, expected one of {}", known.join(", "))
}
