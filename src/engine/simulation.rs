//! A whole simulation from a fresh state, split to fit into memory.

use tch::{Device, Kind};
use tch_spiking_core::event::{EventNetwork, RunOptions};
use tch_spiking_core::kernels::Number;
use tch_spiking_core::probe::Quantity;
use tch_spiking_core::spec::{NetworkError, Node};

use super::observers::Recorder;
use super::{Activity, Engine, Pass, Probe, Recording, event, forward};
use crate::device::check_memory;
use crate::error::Result;
use crate::kernels::{TensorNumber, share_out_reading};
use crate::network::{Network, State};

/// The settings of a simulation.
///
/// ```no_run
/// # fn example(net: &tch_spiking::Network, images: tch::Tensor) -> tch_spiking::Result<()> {
/// use tch_spiking::engine::{Activity, Probe, Simulation};
///
/// let probes = [Probe::output("lif1")];
/// let recording = Simulation::new(100).probes(&probes).run(net, &Activity::Constant(images))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Simulation<'a> {
    /// Number of timesteps.
    pub steps: i64,
    /// Quantities to record beside the output.
    pub probes: &'a [Probe],
    /// Approximate memory (bytes) for the activities of the layers in the dense engine; samples and time
    /// are split accordingly. The default, 16 MiB, about fits into a CPU cache: larger values are slower.
    pub memory: usize,
    /// Engine that runs the simulation.
    pub engine: Engine,
    /// Number of the first sample, on which the noise of noisy neurons depends: one batch of many need not repeat another's.
    pub first_sample: u64,
}

impl Default for Simulation<'_> {
    fn default() -> Self {
        Self { steps: 1, probes: &[], memory: 16 << 20, engine: Engine::Auto, first_sample: 0 }
    }
}

/// For [`Engine::Auto`]: the fraction of active inputs above which the dense engine is faster (on the reference
/// network, the event engine is 9 times faster at 5 %, 4 times at 18 %, and would be slower above 60 %), and the number
/// of samples used for the estimate.
const DENSE_ABOVE: f64 = 0.6;
const SAMPLE: i64 = 2;

/// More for one sample are assumed to be a mistake, which must not occupy a machine: some hours on a processor.
const MOST_MULTIPLICATIONS: u128 = 1_000_000_000_000_000;

/// Fewer timesteps at a time are not worth the overhead, whatever the memory.
const SHORTEST_STRETCH: i64 = 8;

impl<'a> Simulation<'a> {
    /// `steps` timesteps, nothing recorded but the output, the engine chosen automatically.
    pub fn new(steps: i64) -> Self {
        Self { steps, ..Self::default() }
    }

    /// The same with this recorded too.
    #[must_use]
    pub fn probes(self, probes: &'a [Probe]) -> Self {
        Self { probes, ..self }
    }

    /// The same computed by this engine.
    #[must_use]
    pub fn engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// The same with about so much memory (bytes) for the activities of layers.
    #[must_use]
    pub fn memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// The same with another number of the [first sample](Self::first_sample).
    #[must_use]
    pub fn first_sample(self, first_sample: u64) -> Self {
        Self { first_sample, ..self }
    }

    /// Runs `network` on `input` from a fresh state. The images do not influence each other, so how they are split into
    /// batches does not change the result.
    ///
    /// Returns an error if the input does not match the network, `steps` is below 1, a probe names something that does
    /// not exist, or the event engine was requested and does not support it.
    pub fn run(&self, network: &Network, input: &Activity) -> Result<Recording> {
        let _without_gradient = tch::no_grad_guard();
        super::pass::check_steps(input, self.steps)?;
        match network.kind() {
            Kind::Double => self.choose::<f64>(network, input),
            _ => self.choose::<f32>(network, input),
        }
    }

    fn choose<R: Number + TensorNumber + tch::kind::Element>(
        &self,
        network: &Network,
        input: &Activity,
    ) -> Result<Recording> {
        match self.event::<R>(network, input)? {
            Some(event) => event::record(&event, network, input, self.options()),
            None => self.run_dense(network, input),
        }
    }

    /// Returns the network compiled for the event engine, if that is to run it.
    pub(crate) fn event<R: Number + TensorNumber>(
        &self,
        network: &Network,
        input: &Activity,
    ) -> Result<Option<EventNetwork<R>>> {
        self.check_memory(network, input.batch())?;
        let compile = || {
            check_probes(network, self.probes)?;
            let input = event::contiguous(network, input)?;
            Ok((event::compile::<R>(network)?, input))
        };
        match self.engine {
            Engine::Dense => Ok(None),
            Engine::Event => compile().map(|(event, _)| Some(event)),
            Engine::Auto => {
                // What is wrong with the input or the probes the dense engine says too.
                let Ok((event, input)) = compile() else { return Ok(None) };
                let dimension = i64::from(input.is_varying());
                let sample = input.tensor().f_narrow(dimension, 0, SAMPLE.min(input.batch()))?;
                let sample = input.with(sample.f_contiguous()?);
                let density = event.density(event::signal(&sample)?, usize::try_from(self.steps).unwrap_or(1))?;
                Ok((density <= DENSE_ABOVE).then_some(event))
            }
        }
    }

    /// Runs a network that was [compiled](Network::compile) before, to be used again and again, from a fresh state.
    ///
    /// # Errors
    /// As for [`run`](Self::run), or if `compiled` is not of this network's shape.
    pub fn run_compiled<R: Number + TensorNumber + tch::kind::Element>(
        &self,
        compiled: &EventNetwork<R>,
        network: &Network,
        input: &Activity,
    ) -> Result<Recording> {
        let _without_gradient = tch::no_grad_guard();
        super::pass::check_steps(input, self.steps)?;
        check_probes(network, self.probes)?;
        self.check_memory(network, input.batch())?;
        let shapes =
            |nodes: &[Node]| nodes.iter().map(|node| (node.name.clone(), node.shape.clone())).collect::<Vec<_>>();
        let own = network.layers().iter().map(|layer| (layer.name().to_string(), layer.output_shape().to_vec()));
        if shapes(&compiled.graph().nodes) != own.collect::<Vec<_>>() {
            let cause = "it was compiled from a network of other layers: compile this one".to_string();
            return Err(NetworkError::State(cause).into());
        }
        event::record(compiled, network, input, self.options())
    }

    /// Checks that output, recordings and the state of `batch` samples fit into the memory, and that the steps end in
    /// this life.
    fn check_memory(&self, network: &Network, batch: i64) -> Result<()> {
        let (demand, element) = (network.demand(), network.element_size());
        let steps = u128::from(self.steps.unsigned_abs());
        let needed = demand.multiplications.saturating_mul(steps);
        if needed > MOST_MULTIPLICATIONS {
            return Err(NetworkError::Specification(format!(
                "{steps} timesteps of one sample need {needed} multiplications: expected at most {MOST_MULTIPLICATIONS}; \
                 choose fewer timesteps or smaller layers"
            ))
            .into());
        }
        if network.device() != Device::Cpu {
            return Ok(());
        }
        let batch = u128::from(batch.unsigned_abs()) * element;
        let output: i64 = network.output_shape().iter().product();
        let recorded = |probe: &Probe| {
            let size = network.layer(&probe.layer).map_or(0, |layer| layer.output_shape().iter().product::<i64>());
            let times = if probe.quantity == Quantity::SpikeCount { 1 } else { steps };
            u128::from(size.unsigned_abs()) * times * batch
        };
        // Tiles and stretches are recorded by themselves and then joined.
        const COPIES: u128 = 2;
        let parts = [
            ("parameters", demand.parameters * element),
            ("state", demand.state * batch),
            ("output", COPIES * steps * u128::from(output.unsigned_abs()) * batch),
            ("recordings", COPIES * self.probes.iter().map(recorded).sum::<u128>()),
        ];
        Ok(check_memory(&format!("a simulation of {steps} timesteps of {} samples", batch / element), &parts)?)
    }

    fn options(&self) -> RunOptions<'a> {
        let steps = usize::try_from(self.steps).unwrap_or(0);
        RunOptions { probes: self.probes, first_sample: self.first_sample, ..RunOptions::new(steps) }
    }

    fn run_dense(&self, network: &Network, input: &Activity) -> Result<Recording> {
        let batch = input.batch();
        let threads = match network.device() {
            Device::Cpu => i64::from(tch::get_num_threads()).max(1),
            _ => 1,
        };
        let tile = (self.at_once(network, self.steps) / threads).clamp(1, batch.max(1));
        // If not even one sample fits, its time is split too.
        let stretch = (self.at_once(network, tile) / threads).clamp(SHORTEST_STRETCH, self.steps.max(SHORTEST_STRETCH));
        if tile >= batch {
            return self.run_tile(network, input, stretch, 0);
        }
        let run_part = |network: &Network, input: &Activity, index: usize| {
            // A guard applies to its own thread only.
            let _without_gradient = tch::no_grad_guard();
            let start = index as i64 * tile;
            let dimension = i64::from(input.is_varying());
            let part = input.with(input.tensor().f_narrow(dimension, start, tile.min(batch - start))?);
            self.run_tile(network, &part, stretch, start)
        };
        // One tile per thread, each in that core's cache, is faster than all threads on one tile.
        let parts = (batch as usize).div_ceil(tile as usize);
        let mut workers: Vec<Vec<(usize, Result<Recording>)>> = (0..threads).map(|_| Vec::new()).collect();
        share_out_reading(&mut workers, parts, &(network, input), |(network, input), done, index| {
            done.push((index, run_part(network, input, index)));
        });
        let mut parts: Vec<_> = workers.into_iter().flatten().collect();
        parts.sort_unstable_by_key(|(index, _)| *index);
        Ok(Recording::of_batches(&parts.into_iter().map(|(_, part)| part).collect::<Result<Vec<_>>>()?)?)
    }

    /// Runs the samples from `first` on, over all timesteps.
    fn run_tile(&self, network: &Network, input: &Activity, stretch: i64, first: i64) -> Result<Recording> {
        network.check_input(input.tensor(), input.leading(), network.kind())?;
        let mut state = network.zero_state(input.batch())?;
        state.set_first_sample(self.first_sample.wrapping_add(first.unsigned_abs()));
        if stretch >= self.steps {
            return record(network, input, self.steps, &mut state, self.probes);
        }
        let parts = (0..self.steps).step_by(stretch.unsigned_abs() as usize).map(|start| {
            let steps = stretch.min(self.steps - start);
            match input {
                Activity::Constant(_) => record(network, input, steps, &mut state, self.probes),
                Activity::Varying(tensor) => {
                    let part = Activity::Varying(tensor.f_narrow(0, start, steps)?);
                    record(network, &part, steps, &mut state, self.probes)
                }
            }
        });
        Ok(Recording::of_stretches(&parts.collect::<Result<Vec<_>>>()?)?)
    }

    /// Returns how many samples of `of` steps, or steps of `of` samples, fit into the memory limit, given the
    /// activities that are alive at the same time.
    fn at_once(&self, network: &Network, of: i64) -> i64 {
        let each = network.demand().widest.max(1) * (of.max(1) as u128) * network.element_size();
        i64::try_from(self.memory as u128 / each.max(1)).unwrap_or(i64::MAX)
    }
}

/// Checks that `network` has what `probes` ask for.
fn check_probes(network: &Network, probes: &[Probe]) -> Result<()> {
    let layers = network.layers().iter().map(|layer| (layer.name(), layer.kind()));
    Ok(probes.iter().try_for_each(|probe| probe.check(layers.clone()))?)
}

/// Runs `steps` timesteps of `input` in the dense engine, advances `state` in place, and records the probes.
pub(crate) fn record(
    network: &Network,
    input: &Activity,
    steps: i64,
    state: &mut State,
    probes: &[Probe],
) -> Result<Recording> {
    check_probes(network, probes)?;
    let mut recorder = Recorder { probes, recorded: Vec::new() };
    let output =
        forward(network, input, Some(state), &mut Pass { observer: Some(&mut recorder), ..Pass::spikes(steps) })?;
    Ok(Recording { output: output.over_time(steps)?, probed: recorder.recorded.into_iter().collect() })
}
