//! How long it takes until the output of spikes agrees with the output of rates.
//!
//! A network is run with rates and with spikes on the same input. The filtered output of the spikes approaches that of
//! the rates over time: first the filter settles, then only the noise of individual spikes is left, which a slower
//! filter averages out.
//!
//! `cargo run --release --example 05_rates_to_spikes [folder]` writes two figures.

mod common;

use tch::{Device, Kind, Tensor, nn};
use tch_spiking::network::{Builder, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::report::{Chart, Series, chart};

fn main() -> anyhow::Result<()> {
    let (images, steps) = if common::quick() { (4, 200) } else { (64, 1000) };
    let input = waves(images)?;

    let (mut outputs, mut errors) = (vec![], vec![]);
    println!("filter (s)   error after 50 ms   100 ms   at the end");
    for tau in [0.02, 0.05, 0.1] {
        // The seed draws the same weights every time; only the filter differs.
        let vs = nn::VarStore::new(Device::Cpu);
        let net = Builder::new([16])
            .linear(1000)
            .layer(NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0))
            .linear(3)
            .lowpass(tau)
            .build(&vs.root(), 1)?;

        let rates = tch::no_grad(|| net.forward_rates(&input))?; // [images, 3]
        let spikes = net.simulate(&input, steps, &[])?.output; // [steps, images, 3]

        // Root mean square error over samples and outputs, relative to the rates' output.
        let square = |tensor: &Tensor| (tensor * tensor).f_mean_dim([-2, -1].as_slice(), false, Kind::Double);
        let error = Vec::<f64>::try_from((square(&(&spikes - &rates))? / square(&rates)?).sqrt() * 100.0)?;
        let end = error.len() - 1;
        println!("{tau:10} {:17.1} % {:6.1} % {:10.1} %", error[49], error[99], error[end]);

        let over_time = |values: Vec<f64>| (1..).map(f64::from).zip(values).collect::<Vec<_>>();
        let first_output = Vec::<f64>::try_from(spikes.f_select(1, 0)?.f_select(1, 0)?.f_to_kind(Kind::Double)?)?;
        outputs.push(Series::line(format!("spikes, filter {tau} s"), over_time(first_output)));
        errors.push(Series::line(format!("filter {tau} s"), over_time(error)));
        if tau == 0.1 {
            let rate = rates.double_value(&[0, 0]);
            outputs.push(Series::line("rates", [(1.0, rate), (steps as f64, rate)]));
        }
    }

    for (file, title, y_label, series, y_log) in [
        ("rates_to_spikes_output", "One output over time", "decoded output", outputs, false),
        ("rates_to_spikes_error", "How far spikes are from rates", "error (% of the rates' output)", errors, true),
    ] {
        let (title, y_label, x_label) = (title.into(), y_label.into(), "time (ms)".into());
        let figure = chart(&Chart { title, x_label, y_label, series, y_log, ..Chart::default() });
        common::save(&figure, file)?;
    }
    Ok(())
}

/// Returns inputs between -1 and 1, `[images, 16]`: a travelling wave with a different phase per sample.
fn waves(images: i64) -> Result<Tensor, tch::TchError> {
    let range = |count| Tensor::f_arange(count, (Kind::Float, Device::Cpu));
    Ok((range(images)?.f_unsqueeze(1)? * 0.37 + range(16)? * 0.9).sin())
}
