//! The event engine: one image at a time, arithmetic only where there are spikes. On the CPU, without libtorch.
//!
//! A network is compiled once ([`EventNetwork`]): weights laid out so that one spike adds contiguous rows of output
//! channels, neurons stored channels last. An image then runs stage by stage, each over a stretch of time, so that the
//! weights and the state of a few neurons stay in the first-level cache while time goes by.
//!
//! | file | holds |
//! |---|---|
//! | `compile.rs`, `plan.rs` | from a network to its stages: an operation and the neurons behind it |
//! | `gather.rs` | the operation: from spikes (a word of times each neuron) or values to the input of a block of neurons over time |
//! | `lif.rs`, `constant.rs` | LIF neurons without exponentials, and of those with a constant input only the ones that can spike; other models run by their own step |
//! | `advance.rs`, `workspace.rs` | one stage over a stretch of time; the memory of an image |
//! | `aligned.rs` | numbers that begin at a line of the cache |
//! | `batch.rs` | many images on all threads |
//! | `error.rs` | what it cannot do |

mod advance;
mod aligned;
mod batch;
mod compile;
mod constant;
mod error;
mod gather;
mod lif;
mod plan;
mod workspace;

pub use batch::{Done, Until};
pub use error::EventError;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use self::plan::Plan;
use self::workspace::Workspace;
use crate::file::{NetworkFile, Parameters};
use crate::kernels::Number;
use crate::spec::NetworkSpec;

/// A network compiled for inference on the CPU, a copy of the parameters as they were.
///
/// Runs single images at the lowest latency: no call into libtorch, no memory allocated but the answer's.
///
/// ```no_run
/// use tch_spiking_core::EventNetwork;
///
/// # fn example() -> Result<(), tch_spiking_core::event::EventError> {
/// let event = EventNetwork::<f32>::load("pretrained/mnist-lif/weights.safetensors")?;
///
/// let image = vec![100.0; 28 * 28];
/// let response = event.run(&image, 30)?;
/// assert_eq!(response.steps(), 30);
/// assert_eq!(response.last().len(), 10); // the readout at the end
///
/// // Stops as soon as the best output leads by 0.5.
/// let early = event.run_until(&image, 30, 0.5)?;
/// assert!(early.steps() <= 30);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventNetwork<R = f32> {
    plan: Plan<R>,
    /// Memory to be used again.
    workspaces: Mutex<Vec<Workspace<R>>>,
}

/// The output of a network over time for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<R> {
    outputs: usize,
    values: Vec<R>,
}

impl<R: Number> Response<R> {
    /// How many timesteps it took.
    pub fn steps(&self) -> usize {
        self.values.len() / self.outputs.max(1)
    }

    /// The output at each step, in the order of the output's shape.
    pub fn over_time(&self) -> impl Iterator<Item = &[R]> {
        self.values.chunks_exact(self.outputs.max(1))
    }

    /// The output at the last step.
    pub fn last(&self) -> &[R] {
        &self.values[self.values.len() - self.outputs..]
    }

    /// The index of the highest output at the last step (the first of equals).
    pub fn prediction(&self) -> usize {
        highest(self.last())
    }
}

/// The index of the highest value, the first of equals.
pub fn highest<R: PartialOrd>(values: &[R]) -> usize {
    (0..values.len()).reduce(|best, index| if values[index] > values[best] { index } else { best }).unwrap_or(0)
}

/// By how much the best output leads; nothing where there is only one.
pub fn lead<R: Number>(values: &[R]) -> Option<f64> {
    let (best, second) = values.iter().fold((f64::NEG_INFINITY, f64::NEG_INFINITY), |(best, second), value| {
        let value = value.to_f64();
        if value > best { (value, best) } else { (best, second.max(value)) }
    });
    (values.len() > 1).then_some(best - second)
}

/// More output of one image than this is a mistake in the number of steps, which must not end in running out of memory.
const MOST_VALUES: usize = 1 << 30;

/// Timesteps simulated at a time: few where the end is to be noticed soon after it has come.
const STRETCH: usize = 32;
const STRETCH_UNTIL: usize = 4;

impl<R: Number> EventNetwork<R> {
    /// Compiles the network that `spec` describes, built from `seed`, with these parameters (`conv1.weight` ..).
    ///
    /// # Errors
    /// If the specification does not make a network, a parameter is missing, or there is a layer that this engine cannot run.
    pub fn new(spec: &NetworkSpec, seed: u64, parameters: &Parameters) -> Result<Self, EventError> {
        Ok(Self { plan: compile::compile(spec, seed, parameters)?, workspaces: Mutex::default() })
    }

    /// Compiles the network of a network file.
    ///
    /// # Errors
    /// If the file cannot be read, is not a network file of ours, or holds a layer that this engine cannot run.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, EventError> {
        Self::of_file(&NetworkFile::read(path)?)
    }

    /// Compiles the network of a network file that is in memory.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EventError> {
        Self::of_file(&NetworkFile::from_bytes(bytes)?)
    }

    fn of_file(file: &NetworkFile) -> Result<Self, EventError> {
        Self::new(&file.spec, file.seed, &file.parameters)
    }

    /// `steps` timesteps of one image (its values in the order of the network's input shape), from a fresh state.
    ///
    /// # Errors
    /// If the image is of another size, or there are no steps.
    pub fn run(&self, image: &[R], steps: usize) -> Result<Response<R>, EventError> {
        self.respond(image, steps, None)
    }

    /// The same, stopping at the first step at which the highest output leads the second by at least `margin`.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_until(&self, image: &[R], steps: usize, margin: f64) -> Result<Response<R>, EventError> {
        self.respond(image, steps, Some(margin))
    }

    fn respond(&self, image: &[R], steps: usize, margin: Option<f64>) -> Result<Response<R>, EventError> {
        self.check(image, steps)?;
        let mut workspace = self.workspace(steps, margin.is_some());
        let (values, _) = self.simulate(&mut workspace, image, Until { steps, margin, keep: &[] });
        self.give_back([workspace]);
        Ok(Response { outputs: self.plan.output().len(), values })
    }

    fn check(&self, image: &[R], steps: usize) -> Result<(), EventError> {
        let expected = self.plan.input.len();
        match image.len() == expected {
            false => Err(EventError::Input { expected, found: image.len() }),
            true => {
                let most = MOST_VALUES / self.plan.output().len().max(1);
                if (1..=most).contains(&steps) { Ok(()) } else { Err(EventError::Steps { steps, most }) }
            }
        }
    }

    /// One image in `workspace`: the output over time, and that of the stages to be kept.
    fn simulate(&self, workspace: &mut Workspace<R>, image: &[R], until: Until) -> (Vec<R>, Vec<Vec<R>>) {
        let Until { steps, margin, keep } = until;
        let outputs = self.plan.output().len();
        let mut values = Vec::with_capacity(steps * outputs);
        let mut kept = vec![Vec::new(); keep.len()];
        workspace.start(&self.plan, image);
        for start in (0..steps).step_by(workspace.capacity()) {
            let stretch = workspace.capacity().min(steps - start);
            workspace.advance(&self.plan, stretch);
            for step in 0..stretch {
                workspace.read_output(&self.plan, step, &mut values);
                for (&stage, kept) in keep.iter().zip(&mut kept) {
                    kept.extend(workspace.output(&self.plan.stages[stage], stage, step));
                }
                let lead = margin.and_then(|_| lead(&values[values.len() - outputs..]));
                if lead.zip(margin).is_some_and(|(lead, margin)| lead >= margin) {
                    return (values, kept);
                }
            }
        }
        (values, kept)
    }

    /// How much of the work of a dense engine the event engine does for these images: the share of active inputs,
    /// weighted by the size of what they drive.
    pub fn density(&self, images: &[R], steps: usize) -> f64 {
        let mut workspace = self.workspace(steps, false);
        let (mut active, mut all) = (0.0, 0.0);
        for image in images.chunks_exact(self.plan.input.len().max(1)) {
            workspace.start(&self.plan, image);
            workspace.advance(&self.plan, workspace.capacity());
            for (index, stage) in self.plan.stages.iter().enumerate().filter(|(_, stage)| !stage.is_constant()) {
                let work = stage.products() as f64;
                active += work * workspace.density(stage, index);
                all += work;
            }
        }
        self.give_back([workspace]);
        if all > 0.0 { active / all } else { 0.0 }
    }

    fn workspace(&self, steps: usize, until: bool) -> Workspace<R> {
        let capacity = steps.min(if until { STRETCH_UNTIL } else { STRETCH });
        let mut kept = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = kept.iter().position(|workspace| workspace.capacity() == capacity);
        match fits {
            Some(index) => kept.swap_remove(index),
            None => Workspace::new(&self.plan, capacity),
        }
    }

    fn give_back(&self, workspaces: impl IntoIterator<Item = Workspace<R>>) {
        let mut kept = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        for workspace in workspaces {
            // Those of one length at a time: nobody alternates between many.
            kept.retain(|other| other.capacity() == workspace.capacity());
            kept.push(workspace);
        }
    }
}
