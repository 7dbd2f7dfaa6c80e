//! A small population of neurons with different thresholds and rates, all driven by one varying signal.
//!
//! `cargo run --release --example 03_raster [folder]` writes `raster.png` and `.svg`.

mod common;

use tch::{Device, Kind, Tensor, nn};
use tch_spiking::engine::{Probe, Quantity};
use tch_spiking::network::{Builder, Distribution, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::report::{Chart, Series, chart};

const NEURONS: i64 = 30;

fn main() -> anyhow::Result<()> {
    let steps: i64 = if common::quick() { 200 } else { 1000 };

    // Every neuron draws the x at which it starts to fire and its rate at x = 1, from which gain and bias are computed.
    let neurons = NeuronSpec::new(Lif::default())
        .tuned(Distribution::Uniform { uniform: [20.0, 60.0] }, Distribution::Uniform { uniform: [-0.9, 0.9] });
    let vs = nn::VarStore::new(Device::Cpu);
    let net = Builder::new([NEURONS]).layer(neurons).build(&vs.root(), 0)?;

    // A slow sine between -1 and 1, [T, batch, neurons], the same for all neurons.
    let time = Tensor::f_arange(steps, (Kind::Float, Device::Cpu))? * net.spec().dt;
    let signal = (&time * (2.0 * std::f64::consts::TAU)).sin();
    let input = signal.f_view([steps, 1, 1])?.f_expand([steps, 1, NEURONS], false)?;

    let spike_count = Probe::new("lif1", Quantity::SpikeCount);
    let recording = net.simulate_sequence(&input, std::slice::from_ref(&spike_count))?;

    // The neuron with the lowest intercept first.
    let counts = recording.get(&spike_count).map(|counts| counts.get(0)).unwrap_or_default();
    let output = recording.output.f_select(1, 0)?.f_index_select(1, &counts.f_argsort(0, true)?)?;
    let total = counts.f_sum(Kind::Double)?.double_value(&[]);
    let seconds = steps as f64 * net.spec().dt;
    println!("{NEURONS} neurons, {seconds} s: {total} spikes, {:.1} Hz per neuron", total / seconds / NEURONS as f64);

    let seconds_at = |step: i64| step as f64 * net.spec().dt;
    let spikes = Vec::<Vec<i64>>::try_from(output.f_gt(0.0)?.f_nonzero()?)?; // [step, neuron] of each
    let spikes = spikes.iter().map(|at| (seconds_at(at[0]), (NEURONS - at[1]) as f64));
    let middle = (NEURONS + 1) as f64 / 2.0;
    let signal = (0..steps).map(|step| (seconds_at(step), middle + 0.95 * middle * signal.double_value(&[step])));
    let figure = chart(&Chart {
        title: format!("Spikes of {NEURONS} LIF neurons that see one signal"),
        x_label: "time (s)".into(),
        y_label: "neuron, the most eager at the top".into(),
        series: vec![Series::line("signal (-1 to 1 over the height)", signal), Series::dots("spike", spikes)],
        ..Chart::default()
    });
    common::save(&figure, "raster")
}
