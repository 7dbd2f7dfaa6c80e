//! Many images on all threads.

use super::workspace::Workspace;
use super::{EventError, EventNetwork};
use crate::kernels::Number;
use crate::threads::share_out;

/// What is to be simulated of each image.
#[derive(Clone, Copy, Debug)]
pub struct Until<'a> {
    /// How many timesteps.
    pub steps: usize,
    /// The lead of the best output at which an image is done.
    pub margin: Option<f64>,
    /// The stages whose output is to be kept.
    pub keep: &'a [usize],
}

/// What came of one image.
pub struct Done<'a, R> {
    /// Which image it was.
    pub index: usize,
    /// The network's output over time, `[steps, output]`.
    pub output: Vec<R>,
    /// The output over time of each stage to be kept.
    pub kept: Vec<Vec<R>>,
    network: &'a EventNetwork<R>,
    workspace: &'a Workspace<R>,
}

impl<R: Number> Done<'_, R> {
    /// How often each neuron of the layer spiked, in the order of tensors.
    pub fn counts(&self, layer: usize) -> Vec<R> {
        let Some(index) = self.network.stage_of(layer) else { return Vec::new() };
        let (counts, shape) = (self.workspace.counts(index), self.network.plan.stages[index].output);
        (0..shape.len()).map(|neuron| counts[shape.stored_at(neuron)]).collect()
    }

    /// The same in the order in which they are stored, the same for every image: faster.
    pub fn stored_counts(&self, layer: usize) -> impl Iterator<Item = &[R]> {
        self.network.stage_of(layer).into_iter().flat_map(|index| {
            let (shape, counts) = (self.network.plan.stages[index].output, self.workspace.counts(index));
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

impl<R: Number> EventNetwork<R> {
    /// Runs `images` (one after the other in memory) on `threads` threads. Each thread collects in a value of its own, which
    /// `seen` adds every finished image to; all of them are returned.
    ///
    /// # Errors
    /// If the images are of another size, or there are no steps.
    pub fn run_all<A: Send + Default>(
        &self,
        images: &[R],
        threads: usize,
        until: Until,
        seen: impl Fn(&mut A, Done<R>) + Sync,
    ) -> Result<Vec<A>, EventError> {
        let size = self.plan.input.len();
        let count = images.len() / size;
        let threads = threads.clamp(1, count.max(1));
        self.check(&images[..size.min(images.len())], until.steps)?;
        let worker =
            || Worker { workspace: self.workspace(until.steps, until.margin.is_some()), gathered: A::default() };
        let mut workers: Vec<_> = (0..threads).map(|_| worker()).collect();
        share_out(&mut workers, count, |Worker { workspace, gathered }, index| {
            let (output, kept) = self.simulate(workspace, &images[index * size..][..size], until);
            seen(gathered, Done { index, output, kept, network: self, workspace });
        });
        let (workspaces, gathered): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|worker| (worker.workspace, worker.gathered)).unzip();
        self.give_back(workspaces);
        Ok(gathered)
    }

    /// The stage that ends with the layer.
    pub fn stage_of(&self, layer: usize) -> Option<usize> {
        self.plan.stages.iter().position(|stage| stage.layer == layer)
    }
}
