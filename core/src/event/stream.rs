//! Input that streams in: one timestep after the other.

use std::sync::Arc;

use super::watch::Recorder;
use super::workspace::Workspace;
use super::{EventError, EventNetwork};
use crate::kernels::Number;

/// The state of a network in the course of time: a plain value, made by [`EventNetwork::state`], advanced by
/// [`EventNetwork::advance`]. A clone goes on from the same moment, independently.
#[derive(Clone, Debug)]
pub struct EventState<R> {
    workspace: Workspace<R>,
    output: Vec<R>,
}

impl<R: Number> EventState<R> {
    /// How many timesteps have gone by.
    pub fn steps(&self) -> u64 {
        self.workspace.time()
    }

    /// The output at the last timestep, in the order of the output's shape; empty before the first.
    pub fn output(&self) -> &[R] {
        &self.output
    }

    /// How often each neuron of the layer at this index has spiked, in the order of the layer's shape; empty for other layers.
    pub fn spike_counts(&self, layer: usize) -> Vec<R> {
        let stage = self.workspace.plan().neurons_of(layer);
        stage.map_or(Vec::new(), |stage| self.workspace.counts_in_order(stage))
    }

    /// Back to the start, for the sample of this number (on which the noise of noisy neurons depends).
    pub fn reset(&mut self, sample: u64) {
        self.workspace.reset(sample);
        self.output.clear();
    }
}

impl<R: Number> EventNetwork<R> {
    /// A fresh state for [`advance`](Self::advance).
    pub fn state(&self) -> EventState<R> {
        let mut workspace = Workspace::new(&self.varying, 1, &Recorder::default());
        workspace.reset(0);
        EventState { workspace, output: Vec::new() }
    }

    /// One timestep with `input`: advances `state` in place and returns the output. What comes of it is what
    /// [`run_sequence`](Self::run_sequence) gives, bit for bit; no memory is allocated after the first step.
    ///
    /// ```
    /// use tch_spiking_core::{EventNetwork, NetworkSpec, file::Parameters};
    ///
    /// let spec: NetworkSpec = toml::from_str(r#"
    ///     input = [2]
    ///     layers = [{ type = "lowpass", tau = 0.01 }]
    /// "#).unwrap();
    /// let network = EventNetwork::<f64>::new(&spec, 0, &Parameters::new())?;
    ///
    /// let mut state = network.state();
    /// for step in 0..5 {
    ///     let output = network.advance(&mut state, &[1.0, -1.0])?;
    ///     assert!(output[0] > 0.0 && output[1] == -output[0]);
    /// }
    /// assert_eq!(state.steps(), 5);
    /// # Ok::<(), tch_spiking_core::event::EventError>(())
    /// ```
    ///
    /// # Errors
    /// If the input is of another size, or the state is of another network.
    pub fn advance<'s>(&self, state: &'s mut EventState<R>, input: &[R]) -> Result<&'s [R], EventError> {
        if !Arc::ptr_eq(state.workspace.plan(), &self.varying) {
            return Err(EventError::State);
        }
        let expected = self.varying.input.len();
        if input.len() != expected {
            return Err(EventError::Input { expected, found: input.len() });
        }
        state.workspace.set_step(0, input);
        state.workspace.advance(1);
        state.output.clear();
        state.workspace.read_output(0, &mut state.output);
        Ok(&state.output)
    }
}
