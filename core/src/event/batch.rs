//! Many samples on all threads.

use super::signal::{RunOptions, Signal};
use super::watch::{Kept, Recorder};
use super::workspace::Workspace;
use super::{EventError, EventNetwork, lead};
use crate::kernels::Number;
use crate::threads::{Threads, share_out};

/// The result of one sample.
#[derive(Debug)]
pub struct Done<'a, R> {
    /// Which sample it was.
    pub index: usize,
    /// The network's output over time, `[steps, output]`.
    pub output: Vec<R>,
    /// What each probe recorded, as in [`Recorded::probed`](super::Recorded::probed).
    pub probed: Vec<Vec<R>>,
    workspace: &'a Workspace<R>,
}

impl<R: Number> Done<'_, R> {
    /// How often each neuron of the layer at this index spiked, as they are stored, which is the same for every sample: faster
    /// than a probe. Nothing of layers without neurons.
    pub fn stored_counts(&self, layer: usize) -> impl Iterator<Item = &[R]> {
        let plan = self.workspace.plan();
        plan.neurons_of(layer).into_iter().flat_map(|stage| {
            let (shape, counts) = (plan.stages[stage].output, self.workspace.counts(stage));
            // Without padding, all positions are one slice.
            let whole = if shape.padded() == shape.channels { shape.positions() } else { 1 };
            let (stored, used) = (whole * shape.padded(), whole * shape.channels);
            counts.chunks_exact(stored.max(1)).map(move |counts| &counts[..used])
        })
    }
}

/// A thread's memory.
struct Worker<R, A> {
    workspace: Workspace<R>,
    gathered: A,
}

/// Samples that are run in one way.
pub(super) struct Job<'a, R> {
    pub input: Signal<'a, R>,
    /// Values of a sample (at each timestep), and how many samples there are.
    pub size: usize,
    pub samples: usize,
    pub options: RunOptions<'a>,
    pub recorder: Recorder,
}

impl<R: Number> Job<'_, R> {
    /// Runs one sample: the output over time and what each probe recorded.
    pub(super) fn simulate(&self, workspace: &mut Workspace<R>, sample: usize) -> (Vec<R>, Vec<Vec<R>>) {
        let RunOptions { steps, margin, first_sample, .. } = self.options;
        let outputs = workspace.plan().output_shape().len();
        let kept = &self.recorder.kept;
        let mut values = Vec::with_capacity(steps * outputs);
        let mut probed = vec![Vec::new(); kept.len()];
        workspace.reset(first_sample.wrapping_add(sample as u64));
        if let Signal::Constant(images) = self.input {
            workspace.set_constant(&images[sample * self.size..][..self.size]);
        }
        'time: for start in (0..steps).step_by(workspace.capacity()) {
            let stretch = workspace.capacity().min(steps - start);
            if let Signal::Varying(sequence) = self.input {
                for step in 0..stretch {
                    let first = ((start + step) * self.samples + sample) * self.size;
                    workspace.set_step(step, &sequence[first..][..self.size]);
                }
            }
            workspace.advance(stretch);
            for step in 0..stretch {
                workspace.read_output(step, &mut values);
                for (&kept, probed) in kept.iter().zip(&mut probed) {
                    workspace.read_kept(kept, step, probed);
                }
                let lead = margin.and_then(|_| lead(&values[values.len() - outputs..]));
                if lead.zip(margin).is_some_and(|(lead, margin)| lead >= margin) {
                    break 'time;
                }
            }
        }
        for (&kept, probed) in kept.iter().zip(&mut probed) {
            if let Kept::Counts(stage) = kept {
                *probed = workspace.counts_in_order(stage);
            }
        }
        (values, probed)
    }
}

impl<R: Number> EventNetwork<R> {
    /// Runs the samples of `input` on `threads` threads, each from a fresh state. Each thread collects in a value of its own, which
    /// `seen` adds every finished sample to; all of them are returned. Samples do not influence each other: threads do not change
    /// a bit.
    ///
    /// # Errors
    /// If the samples are of another size, there are no steps, or a probe names something that is not there.
    pub fn run_all<A: Send + Default>(
        &self,
        input: Signal<R>,
        threads: &impl Threads,
        options: RunOptions,
        seen: impl Fn(&mut A, Done<R>) + Sync,
    ) -> Result<Vec<A>, EventError> {
        let job = self.job(input, options)?;
        let count = threads.count().clamp(1, job.samples.max(1));
        let worker = || Worker { workspace: self.workspace(&job), gathered: A::default() };
        let mut workers: Vec<_> = (0..count).map(|_| worker()).collect();
        share_out(threads, &mut workers, job.samples, |Worker { workspace, gathered }, index| {
            let (output, probed) = job.simulate(workspace, index);
            seen(gathered, Done { index, output, probed, workspace });
        });
        let (workspaces, gathered): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|worker| (worker.workspace, worker.gathered)).unzip();
        self.give_back(workspaces);
        Ok(gathered)
    }
}
