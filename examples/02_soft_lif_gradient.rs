//! Why training smooths the neuron: the slope of the LIF rate, which gradient descent follows, is infinite at the
//! threshold and zero below it. SoftLIF (Hunsberger & Eliasmith 2016) has a finite slope everywhere.
//!
//! `cargo run --release --example 02_soft_lif_gradient [folder]` writes two figures.

mod common;

use tch::{Device, Kind, Tensor};
use tch_spiking::neuron::{Lif, RateModel};
use tch_spiking::operation;
use tch_spiking::report::{Chart, Series, chart};

fn main() -> anyhow::Result<()> {
    let points = if common::quick() { 101 } else { 801 };
    let options = (Kind::Double, Device::Cpu);
    let current = Tensor::f_linspace(0.6, 1.8, points, options)?;
    let (gain, bias) = (current.ones_like(), current.zeros_like());

    let (mut rates, mut slopes) = (vec![], vec![]);
    println!("smoothing   rate at J = 1   steepest slope");
    for smoothing in [0.0, 0.02, 0.05, 0.1, 0.2] {
        let lif = Lif { smoothing, ..Lif::default() };

        // One sample of neurons with different currents; libtorch's autograd uses the library's custom gradient.
        let input = current.unsqueeze(0).set_requires_grad(true);
        let rate = operation::rate(lif.clone(), &input, &gain, &bias)?;
        rate.f_sum(Kind::Double)?.f_backward()?;
        let slope = input.grad();

        let at_threshold = lif.rate(1.0).value;
        println!("{smoothing:9} {at_threshold:12.1} Hz {:13.0} Hz", slope.max().double_value(&[]));
        let name = if smoothing == 0.0 { "hard LIF".to_string() } else { format!("smoothing {smoothing}") };
        rates.push(Series::line(name.clone(), points_of(&current, &rate)?));
        slopes.push(Series::line(name, points_of(&current, &slope)?));
    }

    for (file, title, y_label, series, y_range) in [
        ("soft_lif_rate", "Rate of LIF and SoftLIF", "firing rate (Hz)", rates, None),
        (
            "soft_lif_slope",
            "Slope of LIF and SoftLIF (the hard one leaves the picture)",
            "d rate / d current (Hz)",
            slopes,
            Some((0.0, 200.0)),
        ),
    ] {
        let figure = chart(&Chart {
            title: title.into(),
            x_label: "input current J (threshold 1)".into(),
            y_label: y_label.into(),
            series,
            y_range,
            ..Chart::default()
        });
        common::save(&figure, file)?;
    }
    Ok(())
}

/// Returns the `(x, y)` pairs of two tensors.
fn points_of(x: &Tensor, y: &Tensor) -> Result<Vec<(f64, f64)>, tch::TchError> {
    let numbers = |tensor: &Tensor| Vec::<f64>::try_from(tensor.detach().f_flatten(0, -1)?);
    Ok(numbers(x)?.into_iter().zip(numbers(y)?).collect())
}
