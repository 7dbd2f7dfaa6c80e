//! Converts a trained ReLU network to a spiking one: why the direct conversion fails, and what helps.
//!
//! A convolutional ReLU network is trained on MNIST and converted to spiking rectified-linear neurons. Its rates equal
//! those of the ReLUs, yet after 30 steps of 1 ms its spikes are barely better than chance: most neurons have not
//! spiked once. Filtering the spikes helps a little; scaling the firing rates up helps most.
//!
//! `cargo run --release --example 07_convert_relu [folder]` prints a table and writes a figure.

mod common;

use std::sync::atomic::AtomicBool;

use tch::Device;
use tch_spiking::Experiment;
use tch_spiking::convert::Converter;
use tch_spiking::data;
use tch_spiking::evaluate::{rate_accuracy, spiking};
use tch_spiking::report::{Chart, Series, chart};
use tch_spiking::run::Run;

const EXPERIMENT: &str = r#"
    [training]
    epochs = 2

    [simulation]
    sample = 0

    [network]
    input = [1, 28, 28]
    layers = [
        { type = "conv2d", out_channels = 32, kernel = 3 },
        { type = "relu" },
        { type = "conv2d", out_channels = 64, kernel = 3, stride = 2 },
        { type = "relu" },
        { type = "flatten" },
        { type = "linear", out_features = 10 },
    ]
"#;

/// How the network is converted, and the number of steps after which its accuracy is measured.
const VARIANTS: [(&str, i64, Option<f64>, f64); 6] = [
    ("as it is", 30, None, 1.0),
    ("filter 5 ms", 60, Some(0.005), 1.0),
    ("filter 10 ms", 60, Some(0.01), 1.0),
    ("filter 10 ms, rates x 2", 30, Some(0.01), 2.0),
    ("filter 10 ms, rates x 5", 30, Some(0.01), 5.0),
    ("filter 10 ms, rates x 10", 30, Some(0.01), 10.0),
];

fn main() -> anyhow::Result<()> {
    let mut experiment = Experiment::from_toml(EXPERIMENT)?;
    let test_images = if common::quick() { 100 } else { 10_000 };
    if common::quick() {
        experiment.training.epochs = 1;
        experiment.data.train_images = Some(1500);
        experiment.data.validation_images = 100;
        for assignment in ["network.layers.0.out_channels=8", "network.layers.2.out_channels=16"] {
            experiment.set(assignment)?;
        }
    }
    let images = data::load(&experiment.data, experiment.seed, &mut |text| println!("{text}"))?;
    let mut run = Run::new(experiment, &images, Device::Cpu)?;
    run.run(&mut (), &AtomicBool::new(false))?;
    let trained = run.trainer().network();
    let test = data::labelled(&images.test, trained)?.first(test_images);
    let accuracy = 100.0 * rate_accuracy(trained, &test)?;
    println!("trained on {}: {accuracy:.1} % of {test_images} test images as ReLUs", images.source);

    println!(
        "{:26} {:>5} {:>10} {:>10} {:>14} {:>12}",
        "converted", "steps", "correct %", "as rates %", "1st layer (Hz)", "spikes/image"
    );
    let mut lines = Vec::new();
    for (name, steps, synapse, scale) in VARIANTS {
        let converter = Converter::new().scale_firing_rates(scale);
        let converter = if let Some(tau) = synapse { converter.synapse(tau) } else { converter };
        let converted = converter.convert(trained)?.network;
        let spikes = spiking(&converted, &test, 60, 32 << 20, &mut |_| {})?;
        let rates = 100.0 * rate_accuracy(&converted, &test)?;
        let correct: Vec<f64> = spikes.accuracy_by_step.iter().map(|share| 100.0 * share).collect();
        let (at, rate) = (correct[steps as usize - 1], spikes.layers[0].mean_rate);
        let per_image = spikes.spikes_per_image * steps as f64 / 60.0;
        println!("{name:26} {steps:5} {at:10.1} {rates:10.1} {rate:14.1} {per_image:12.0}");
        lines.push(Series::line(name, (1..).map(f64::from).zip(correct)));
    }
    lines.push(Series::line(format!("ReLUs, {accuracy:.1} %"), [(1.0, accuracy), (60.0, accuracy)]));
    let figure = chart(&Chart {
        title: "A ReLU network converted to spikes".into(),
        x_label: "timesteps of 1 ms".into(),
        y_label: "accuracy (%)".into(),
        series: lines,
        y_range: Some((0.0, 100.0)),
        ..Chart::default()
    });
    common::save(&figure, "convert")
}
