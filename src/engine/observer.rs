//! What looks at a pass, layer by layer.

use tch::Tensor;

use super::Activity;
use crate::error::Result;
use crate::network::Layer;

/// What looks at a pass, layer by layer. Every method does nothing by default.
pub trait Observer: std::fmt::Debug {
    /// Before a layer is computed; may replace its inputs.
    ///
    /// # Errors
    /// End the pass.
    fn before(&mut self, _index: usize, _layer: &Layer, _inputs: &mut [Activity]) -> Result<()> {
        Ok(())
    }

    /// Whether to record a state variable of a layer of neurons.
    fn records(&self, _layer: &Layer, _variable: &str) -> bool {
        false
    }

    /// After a layer was computed; may replace its output.
    ///
    /// # Errors
    /// End the pass.
    fn after(&mut self, _visit: &mut Visit) -> Result<()> {
        Ok(())
    }
}

/// A layer just computed.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The layer's index.
    pub index: usize,
    /// The layer.
    pub layer: &'a Layer,
    /// What it read.
    pub inputs: &'a [Activity],
    /// What it passes on.
    pub output: Activity,
    /// How many timesteps there are.
    pub steps: i64,
    /// The length of a timestep (s).
    pub dt: f64,
    /// Of a layer of spiking neurons: what was recorded, and the output's sum over time where it was at hand.
    pub spikes: Option<Recorded>,
}

/// What a layer of spiking neurons leaves beside its output.
#[derive(Debug)]
pub struct Recorded {
    /// `[B, S]`: the output's sum over the steps, where the kernel had it at hand (on the CPU).
    pub total: Option<Tensor>,
    /// `[T, B, S]` for every state variable that was to be recorded.
    pub states: Vec<Option<Tensor>>,
}
