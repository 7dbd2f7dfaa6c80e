//! A recurrent network reads digits row by row, 28 timesteps of 28 pixels, and learns through time with a surrogate for the
//! derivative of the spike.
//!
//! What a digit is shows in how its rows follow one another. Neurons without connections back only remember as long as their
//! membranes do; recurrent ones pass on what they have seen. The figure shows how the answer gets better row by row.
//!
//! `cargo run --release --example 09_recurrent [folder]` prints accuracies and writes a figure.

mod common;

use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind};
use tch_spiking::data::{self, Images, Samples, digits};
use tch_spiking::engine::{Mode, Pass, forward};
use tch_spiking::evaluate::spiking;
use tch_spiking::network::{Builder, LayerSpec, Linear, Network, NeuronSpec, Scale};
use tch_spiking::neuron::Lif;
use tch_spiking::report::{Chart, Series, chart};
use tch_spiking::{Result, surrogate::Surrogate};

const ROWS: i64 = 28;
const HIDDEN: i64 = 64;

fn main() -> anyhow::Result<()> {
    let (count, epochs) = if common::quick() { (500, 2) } else { (4000, 10) };
    let images = digits::generate(0, digits::Split::Train, count);
    let test = digits::generate(0, digits::Split::Test, 1000);
    let mut series = vec![];
    for (name, recurrent) in [("recurrent", true), ("without connections back", false)] {
        let vs = nn::VarStore::new(Device::Cpu);
        let network = network(&vs, recurrent)?;
        learn(&network, &vs, &images, epochs)?;
        let evaluation = spiking(&network, &data::samples(&test, &network)?, ROWS, 16 << 20, &mut |_| {})?;
        let accuracy = 100.0 * evaluation.accuracy();
        println!("{name}: {accuracy:.1} %, {:.0} spikes a digit", evaluation.spikes_per_image);
        let by_row = evaluation.accuracy_by_step.iter().map(|accuracy| 100.0 * accuracy);
        series.push(Series::line(name, (1..).map(f64::from).zip(by_row)));
    }
    let (title, x_label, y_label) = ("Digits read row by row".into(), "rows read".into(), "accuracy (%)".into());
    common::save(&chart(&Chart { title, x_label, y_label, series, ..Chart::default() }), "recurrent")
}

/// A network whose input is one row of pixels, 0 to 255.
fn network(vs: &nn::VarStore, recurrent: bool) -> Result<Network> {
    let lif = Lif { tau_rc: 0.01, tau_ref: 0.0, amplitude: 0.001, ..Lif::default() };
    let hidden = LayerSpec::from(NeuronSpec::new(lif).with_gain_bias(10.0, 0.0)).named("hidden");
    let start = Builder::new([ROWS]).layer(Scale::new(1.0 / 255.0).shared().fixed()).linear(HIDDEN);
    let middle = if recurrent { start.recurrent(hidden, Linear::new(HIDDEN)) } else { start.layer(hidden) };
    middle.linear(10).lowpass(0.02).build(&vs.root(), 0)
}

/// Trains on the answer after the last row.
fn learn(network: &Network, vs: &nn::VarStore, images: &Images, epochs: usize) -> Result<()> {
    let rows = data::samples(images, network)?;
    let mode = Mode::Surrogate { surrogate: Surrogate::Atan { alpha: 2.0 }, truncate: None };
    let mut optimizer = nn::Adam::default().build(vs, 0.003)?;
    for _ in 0..epochs {
        for start in (0..rows.len()).step_by(50) {
            let numbers: Vec<i64> = (start..rows.len().min(start + 50)).collect();
            let batch = rows.batch(&numbers, Device::Cpu, Kind::Float)?;
            let mut state = network.zero_state(batch.input.batch())?;
            let mut pass = Pass { mode, ..Pass::spikes(ROWS) };
            let output = forward(network, &batch.input, Some(&mut state), &mut pass)?;
            optimizer.backward_step(&output.last()?.cross_entropy_for_logits(batch.target.tensor()));
        }
    }
    Ok(())
}
