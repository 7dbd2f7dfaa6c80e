//! Observers of a pass, called layer by layer.

use tch::Tensor;

use super::Activity;
use crate::error::Result;
use crate::network::Layer;

/// An observer of a pass, called layer by layer. Every method does nothing by default.
pub trait Observer: std::fmt::Debug {
    /// Called before a layer is computed; may replace its inputs. Not called for layers of a cycle, which are computed step by
    /// step.
    ///
    /// # Errors
    /// An error ends the pass.
    fn before(&mut self, _index: usize, _layer: &Layer, _inputs: &mut [Activity]) -> Result<()> {
        Ok(())
    }

    /// Returns whether to record a state variable of a layer of neurons.
    fn records(&self, _layer: &Layer, _variable: &str) -> bool {
        false
    }

    /// Called after a layer was computed; may replace its output. For the layers of a cycle, called when all steps are done: an
    /// output that is replaced is seen outside of the cycle.
    ///
    /// # Errors
    /// An error ends the pass.
    fn after(&mut self, _visit: &mut Visit) -> Result<()> {
        Ok(())
    }
}

/// A layer that was just computed.
#[derive(Debug)]
pub struct Visit<'a> {
    /// Index of the layer.
    pub index: usize,
    /// The layer.
    pub layer: &'a Layer,
    /// Inputs of the layer.
    pub inputs: &'a [Activity],
    /// Output of the layer.
    pub output: Activity,
    /// Number of timesteps.
    pub steps: i64,
    /// Timestep (s).
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
