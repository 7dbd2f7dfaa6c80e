//! One linear and one LIF layer over time, forward and backward: what `scripts/peers/lif_layer.py` measures of other packages.
//!
//! `cargo bench --bench lif_layer -- [MODEL] [METHOD] [STEPS] [BATCH] [SIZE ..]` prints a line of JSON for each size: medians in
//! ms. The model is `lif` (the exact one; the default) or `leaky` (the peers' discrete one), the method `surrogate` (gradients
//! through time, as the peers'; the default) or `spiking_aware` (the rate's gradient at each step).

use std::time::Instant;

use serde_json::json;
use tch::{Device, Kind, Tensor};
use tch_spiking::network::linear;
use tch_spiking::neuron::{Leaky, Lif, Neuron};
use tch_spiking::operation::{self, SpikingDrive};
use tch_spiking::surrogate::Surrogate;

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);
const THREADS: i32 = 2;
/// With this gain an input moves the voltage of the exact LIF as much in a step as it does in the peers.
const GAIN: f64 = 20.0;

fn main() -> tch_spiking::Result<()> {
    tch_spiking::kernels::keep_freed_memory();
    tch::set_num_threads(THREADS);
    tch::manual_seed(0);
    let numbers: Vec<i64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let (steps, batch) = (numbers.first().copied().unwrap_or(100).max(1), numbers.get(1).copied().unwrap_or(16).max(1));
    let sizes = if numbers.len() > 2 { &numbers[2..] } else { &[256, 512, 1024] };
    let work = Work {
        model: if asked("leaky") { "leaky" } else { "lif" },
        method: if asked("spiking_aware") { "spiking_aware" } else { "surrogate" },
        steps,
        batch,
    };
    sizes.iter().try_for_each(|&size| work.measure(size))
}

/// What is measured.
struct Work {
    model: &'static str,
    method: &'static str,
    steps: i64,
    batch: i64,
}

impl Work {
    fn measure(&self, size: i64) -> tch_spiking::Result<()> {
        let Self { model, method, steps, batch } = *self;
        let input = Tensor::randn([steps, batch, size], F32);
        let bound = 1.0 / (size as f64).sqrt();
        let parameter = |shape: &[i64]| ((Tensor::rand(shape, F32) * 2.0 - 1.0) * bound).set_requires_grad(true);
        let (weight, offset) = (parameter(&[size, size]), parameter(&[size]));
        let (neuron, gain): (Neuron, f64) = match model {
            "leaky" => (Leaky { decay: Some(0.95), ..Leaky::default() }.into(), 1.0),
            _ => (Lif { amplitude: 0.001, ..Lif::default() }.into(), GAIN),
        };
        let (gain, bias) = (Tensor::full([size], gain, F32), Tensor::zeros([size], F32));
        let learned = neuron.learned_values(0.001).into_iter().map(|value| Tensor::full([1], value, F32));
        let learned: Vec<Tensor> = learned.collect();
        let forward = || -> tch_spiking::Result<Tensor> {
            let current = linear(&input.f_flatten(0, 1)?, &weight, Some(&offset))?.f_view_as(&input)?;
            let zeros = |_| Tensor::zeros([batch, size], F32);
            let mut state: Vec<Tensor> = (0..neuron.state().len()).map(zeros).collect();
            let drive = SpikingDrive { learned: &learned, ..SpikingDrive::new(&current, &gain, &bias, steps, 0.001) };
            let spikes = match method {
                "spiking_aware" => operation::spike_aware(&neuron, &drive, &mut state)?,
                _ => operation::through_time(&neuron, &drive, &mut state, &Surrogate::default(), None)?,
            };
            Ok(spikes.output)
        };
        let (forward_ms, spikes) = median(&forward)?;
        let backward = || {
            let loss = spikes.f_sum(Kind::Float)?;
            Ok(Tensor::f_run_backward(&[&loss], &[&weight, &offset], true, false)?)
        };
        let (backward_ms, _) = median(&backward)?;
        let rate = spikes.mean(Kind::Float).double_value(&[]);
        let result = json!({
            "framework": "tch-spiking", "model": model, "method": method, "n": size, "batch": batch, "steps": steps,
            "threads": THREADS, "fwd_ms": forward_ms, "bwd_ms": backward_ms, "spike_rate": rate,
        });
        println!("{result}");
        Ok(())
    }
}

/// The median time (ms) of many runs over two seconds, and what the last gave.
fn median<T>(work: &dyn Fn() -> tch_spiking::Result<T>) -> tch_spiking::Result<(f64, T)> {
    work()?;
    let mut last = work()?;
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < 3 || start.elapsed().as_secs_f64() < 2.0 {
        let begin = Instant::now();
        last = work()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], last))
}
