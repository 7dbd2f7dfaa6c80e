//! The f-I curve of a LIF neuron: its rate formula compared with counted spikes at constant input currents.
//!
//! `cargo run --release --example 01_fi_curve [folder]` writes `fi_curve.png` and `.svg`.

mod common;

use tch_spiking::neuron::{Heaviside, Lif, NeuronModel, RateModel, StepInput};
use tch_spiking::report::{Chart, Series, chart};

const DT: f64 = 0.001;

fn main() -> anyhow::Result<()> {
    let quick = common::quick();
    let seconds = if quick { 1 } else { 10 };

    // Training uses the rate. `smoothing` rounds off the corner at the threshold, where the slope is infinite.
    let hard = Lif::default();
    let soft = Lif { smoothing: 0.1, ..Lif::default() };
    let currents = || (0..=300).map(|i| f64::from(i) * 0.01);
    let rate_of = |lif: &Lif| currents().map(|current| (current, lif.rate(current).value)).collect::<Vec<_>>();

    // Inference counts spikes: the same neuron, stepped through time.
    let counted = |current: f64| {
        let mut state = [0.0; 2]; // membrane voltage, remaining refractory time
        let steps = (f64::from(seconds) / DT).round() as usize;
        let spikes =
            (0..steps).filter(|_| hard.step(StepInput::new(current, DT), &mut state, &Heaviside) > 0.0).count();
        spikes as f64 / f64::from(seconds)
    };
    let counts: Vec<_> = (0..=20).map(|i| f64::from(i) * 0.15).map(|current| (current, counted(current))).collect();

    println!("current   formula   {seconds} s of spikes");
    for (current, spikes) in counts.iter().step_by(2) {
        println!("{current:7.2} {:7.1} Hz {spikes:7.1} Hz", hard.rate(*current).value);
    }

    let figure = chart(&Chart {
        title: "Firing rate of a LIF neuron".into(),
        x_label: "input current (threshold 1)".into(),
        y_label: "firing rate (Hz)".into(),
        series: vec![
            Series::line("hard rate", rate_of(&hard)),
            Series::line("SoftLIF, smoothing 0.1", rate_of(&soft)),
            Series::dots(format!("spikes counted over {seconds} s"), counts),
        ],
        ..Chart::default()
    });
    common::save(&figure, "fi_curve")
}
