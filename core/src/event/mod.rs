//! The event engine: one sample at a time, arithmetic only where there are spikes. On the CPU, without libtorch.
//!
//! A network is compiled once ([`EventNetwork`]): weights laid out so that one spike adds contiguous rows of output
//! channels, neurons stored channels last. A sample then runs stage by stage, each over a stretch of time, so that the
//! weights and the state of a few neurons stay in the first-level cache while time goes by. The stages of a cycle, closed by
//! a delayed connection, run step by step within the stretch.
//!
//! | file | holds |
//! |---|---|
//! | `layers.rs`, `weights.rs` | each layer laid out: weights, constants of neurons |
//! | `compile.rs`, `plan.rs` | from layers to stages: a sum of operations and the neurons behind it |
//! | `gather.rs`, `sum.rs` | the operations: from spikes (a word of times each neuron) or values to the input of a block of neurons over time |
//! | `join.rs`, `delay.rs` | activities side by side; a timestep later |
//! | `lif.rs`, `constant.rs` | LIF neurons without exponentials, and of those with a constant input only the ones that can spike; other models run by their own step |
//! | `advance.rs`, `state.rs`, `activity.rs` | one stage over a stretch of time, its state, and what it passes on |
//! | `watch.rs` | what is recorded |
//! | `workspace.rs`, `batch.rs`, `stream.rs` | the memory of a sample; many samples on all threads; one timestep after the other |
//! | `signal.rs`, `response.rs`, `error.rs` | what goes in, what comes out, what it cannot do |
//! | `aligned.rs` | numbers that begin at a line of the cache |

mod activity;
mod advance;
mod aligned;
mod batch;
mod compile;
mod constant;
mod delay;
mod error;
mod gather;
mod join;
mod layers;
mod lif;
mod plan;
mod response;
mod signal;
mod state;
mod stream;
mod sum;
mod watch;
mod weights;
mod workspace;

pub use batch::Done;
pub use error::EventError;
pub use response::{Recorded, Response, highest, lead};
pub use signal::{RunOptions, Signal};
pub use stream::EventState;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use self::batch::Job;
use self::layers::Source;
use self::plan::{Flow, Plan};
use self::watch::Recorder;
use self::workspace::Workspace;
use crate::file::{NetworkFile, Parameters};
use crate::kernels::Number;
use crate::probe::{Probe, Quantity};
use crate::spec::{Graph, NetworkSpec};

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
///
/// // An input that changes: a value for each timestep.
/// let response = event.run_sequence(&[image.clone(), image].concat())?;
/// assert_eq!(response.steps(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventNetwork<R = f32> {
    graph: Graph,
    /// For input that is the same at every timestep, and for input that varies. They share all weights.
    constant: Arc<Plan<R>>,
    varying: Arc<Plan<R>>,
    /// Memory to be used again.
    workspaces: Mutex<Vec<Workspace<R>>>,
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
        let graph = Graph::new(spec)?;
        let layers = layers::layers(&Source { spec, graph: &graph, seed, parameters })?;
        let plan = |input_flow| Arc::new(compile::compile(&graph, &layers, spec.dt, input_flow));
        let (constant, varying) = (plan(Flow::Constant), plan(Flow::Values));
        Ok(Self { graph, constant, varying, workspaces: Mutex::default() })
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

    /// The network's layers.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// `steps` timesteps of one image (its values in the order of the network's input shape), from a fresh state.
    ///
    /// # Errors
    /// If the image is of another size, or there are no steps.
    pub fn run(&self, image: &[R], steps: usize) -> Result<Response<R>, EventError> {
        Ok(self.record(Signal::Constant(image), RunOptions::new(steps))?.response)
    }

    /// The same, stopping at the first step at which the highest output leads the second by at least `margin`.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_until(&self, image: &[R], steps: usize, margin: f64) -> Result<Response<R>, EventError> {
        let options = RunOptions { margin: Some(margin), ..RunOptions::new(steps) };
        Ok(self.record(Signal::Constant(image), options)?.response)
    }

    /// An input for every timestep, `[steps, input]`, from a fresh state.
    ///
    /// # Errors
    /// If the sequence is not of whole timesteps, or of none.
    pub fn run_sequence(&self, sequence: &[R]) -> Result<Response<R>, EventError> {
        let steps = sequence.len() / self.varying.input.len();
        Ok(self.record(Signal::Varying(sequence), RunOptions::new(steps))?.response)
    }

    /// One sample with all options, and what its probes record.
    ///
    /// # Errors
    /// If the sample is of another size, there are no steps, or a probe names something that is not there.
    pub fn record(&self, input: Signal<R>, options: RunOptions) -> Result<Recorded<R>, EventError> {
        let job = self.job(input, options)?;
        if job.samples != 1 {
            return Err(EventError::Input { expected: job.size, found: job.samples * job.size });
        }
        let mut workspace = self.workspace(&job);
        let (values, probed) = job.simulate(&mut workspace, 0);
        self.give_back([workspace]);
        Ok(Recorded { response: Response { outputs: self.constant.output_shape().len(), values }, probed })
    }

    /// How much of the work of a dense engine the event engine does for these samples, judged by their first timesteps: the share of
    /// active inputs, weighted by the size of what they drive.
    ///
    /// # Errors
    /// If the samples are of another size, or there are no steps.
    pub fn density(&self, input: Signal<R>, steps: usize) -> Result<f64, EventError> {
        let mut job = self.job(input, RunOptions::new(steps))?;
        let mut workspace = self.workspace(&job);
        job.options.steps = workspace.capacity();
        let (mut active, mut all) = (0.0, 0.0);
        for sample in 0..job.samples {
            job.simulate(&mut workspace, sample);
            for stage in &workspace.plan().stages {
                for input in stage.inputs.iter().filter(|input| !input.is_constant()) {
                    let work = input.products(stage.output) as f64;
                    active += work * workspace.density(input);
                    all += work;
                }
            }
        }
        self.give_back([workspace]);
        Ok(if all > 0.0 { active / all } else { 0.0 })
    }

    /// Checks what is to be run.
    fn job<'a>(&self, input: Signal<'a, R>, options: RunOptions<'a>) -> Result<Job<'a, R>, EventError> {
        let plan = self.plan(input);
        let recorder = Recorder::new(&self.graph, plan, options.probes)?;
        let of_probe = |probe: &Probe| match (&probe.quantity, self.graph.position(&probe.layer)) {
            (Quantity::Output | Quantity::Current | Quantity::State(_), Some(layer)) => {
                self.graph.nodes[layer].shape.iter().product::<i64>() as usize
            }
            _ => 0,
        };
        let of_step = plan.output_shape().len() + options.probes.iter().map(of_probe).sum::<usize>();
        let (steps, most) = (options.steps, MOST_VALUES / of_step.max(1));
        if !(1..=most).contains(&steps) {
            return Err(EventError::Steps { steps, most });
        }
        let size = plan.input.len();
        Ok(Job { input, size, samples: input.samples(size, steps)?, options, recorder })
    }

    fn plan(&self, input: Signal<R>) -> &Arc<Plan<R>> {
        if input.is_varying() { &self.varying } else { &self.constant }
    }

    fn workspace(&self, job: &Job<R>) -> Workspace<R> {
        let plan = self.plan(job.input);
        let capacity = job.options.steps.min(if job.options.margin.is_some() { STRETCH_UNTIL } else { STRETCH });
        if job.recorder.watches.is_empty() {
            let mut kept = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
            let fits =
                |workspace: &Workspace<R>| workspace.capacity() == capacity && Arc::ptr_eq(workspace.plan(), plan);
            if let Some(index) = kept.iter().position(fits) {
                return kept.swap_remove(index);
            }
        }
        Workspace::new(plan, capacity, &job.recorder)
    }

    fn give_back(&self, workspaces: impl IntoIterator<Item = Workspace<R>>) {
        let mut kept = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        for workspace in workspaces.into_iter().filter(Workspace::is_plain) {
            // Those of one kind at a time: nobody alternates between many.
            kept.retain(|other| {
                other.capacity() == workspace.capacity() && Arc::ptr_eq(other.plan(), workspace.plan())
            });
            kept.push(workspace);
        }
    }
}
