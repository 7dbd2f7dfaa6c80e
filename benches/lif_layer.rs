//! One linear and one LIF layer over time, forward and backward: what `scripts/peers/lif_layer.py` measures of other packages.
//!
//! `cargo bench --bench lif_layer -- [STEPS] [BATCH] [SIZE ..]` prints a line of JSON for each size: medians in ms.

use std::time::Instant;

use serde_json::json;
use tch::{Device, Kind, Tensor};
use tch_spiking::network::linear;
use tch_spiking::neuron::Lif;
use tch_spiking::operation::{self, SpikingDrive};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);
const THREADS: i32 = 2;
/// With this gain an input moves the voltage as much in a step as it does in the peers.
const GAIN: f64 = 20.0;

fn main() -> tch_spiking::Result<()> {
    tch_spiking::kernels::keep_freed_memory();
    tch::set_num_threads(THREADS);
    tch::manual_seed(0);
    let numbers: Vec<i64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (steps, batch) = (numbers.first().copied().unwrap_or(100).max(1), numbers.get(1).copied().unwrap_or(16).max(1));
    let sizes = if numbers.len() > 2 { &numbers[2..] } else { &[256, 512, 1024] };
    for &size in sizes {
        measure(steps, batch, size)?;
    }
    Ok(())
}

fn measure(steps: i64, batch: i64, size: i64) -> tch_spiking::Result<()> {
    let input = Tensor::randn([steps, batch, size], F32);
    let bound = 1.0 / (size as f64).sqrt();
    let parameter = |shape: &[i64]| ((Tensor::rand(shape, F32) * 2.0 - 1.0) * bound).set_requires_grad(true);
    let (weight, offset) = (parameter(&[size, size]), parameter(&[size]));
    let (gain, bias) = (Tensor::full([size], GAIN, F32), Tensor::zeros([size], F32).set_requires_grad(true));
    let lif = Lif { amplitude: 0.001, ..Lif::default() };
    let forward = || -> tch_spiking::Result<Tensor> {
        let current = linear(&input.f_flatten(0, 1)?, &weight, Some(&offset))?.f_view_as(&input)?;
        let mut state = [Tensor::zeros([batch, size], F32), Tensor::zeros([batch, size], F32)];
        let drive = SpikingDrive::new(&current, &gain, &bias, steps, 0.001);
        Ok(operation::spike_aware(lif.clone(), &drive, &mut state)?.output)
    };
    let (forward_ms, spikes) = median(&forward)?;
    let loss = spikes.sum(Kind::Float);
    let backward = || Ok(Tensor::f_run_backward(&[&loss], &[&weight, &offset, &bias], true, false)?);
    let (backward_ms, _) = median(&backward)?;
    let rate = spikes.mean(Kind::Float).double_value(&[]);
    let result = json!({
        "framework": "tch-spiking", "n": size, "batch": batch, "steps": steps, "threads": THREADS,
        "fwd_ms": forward_ms, "bwd_ms": backward_ms, "spike_rate": rate,
    });
    println!("{result}");
    Ok(())
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
