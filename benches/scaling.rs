//! How the time of spiking inference grows with images, timesteps, width and threads.
//!
//! `cargo bench --bench scaling -- [FOLDER]` prints a table and draws `scaling.png` into the folder (`target`, if none is
//! given). Pretrained weights and MNIST images (repeated beyond 10,000) for images and steps; random weights for widths.

use std::path::PathBuf;
use std::time::Instant;

use tch::{Device, Kind, Tensor, nn};
use tch_spiking::data::{self, DataConfig};
use tch_spiking::engine::Engine;
use tch_spiking::evaluate::{Labelled, SpikingOptions, spiking_with};
use tch_spiking::network::{Builder, Conv2d, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::report::{Chart, Series, chart};
use tch_spiking::train::labelled;
use tch_spiking::{SpikingSequential, Synapse, pretrained, weights};

const THREADS: i32 = 2;

fn main() -> anyhow::Result<()> {
    tch_spiking::kernels::keep_freed_memory();
    let folder = std::env::args_os().skip(1).find(|argument| !argument.to_string_lossy().starts_with('-'));
    let loaded = weights::load_network(&pretrained::find(pretrained::DEFAULT)?, Device::Cpu)?;
    let config = DataConfig { train_images: Some(0), validation_images: 0, ..DataConfig::default() };
    let test = labelled(&data::load(&config, 0, &mut |text| eprintln!("{text}"))?.test, &loaded.network)?;
    let mut series = Vec::new();
    let mut row = |name: &str, points: Vec<(f64, f64, f64)>| {
        for (size, work, seconds) in &points {
            println!("| {name} | {size} | {seconds:.4} | {:.4} |", 1e3 * seconds / work);
        }
        series.push(Series::line(name, points.into_iter().map(|(_, work, seconds)| (work, seconds))));
    };
    println!("| what | size | s | ms for the work of an image of 30 steps |\n|---|---|---|---|");

    for threads in [1, THREADS] {
        tch::set_num_threads(threads);
        let name = format!("images, event engine, threads: {threads}");
        let points = [1i64, 10, 100, 1000, 10_000, 60_000].map(|images| {
            let few = repeated(&test, images);
            Ok((images as f64, images as f64, seconds(&loaded.network, &few, 30, Engine::Event)?))
        });
        row(&name, points.into_iter().collect::<anyhow::Result<_>>()?);
    }
    for (engine, images) in [(Engine::Event, 500), (Engine::Dense, 50)] {
        let few = repeated(&test, images);
        let points = [1i64, 3, 10, 30, 100, 300, 1000].map(|steps| {
            let work = images as f64 * steps as f64 / 30.0;
            Ok((steps as f64, work, seconds(&loaded.network, &few, steps, engine)?))
        });
        row(
            &format!("steps of {images} images, {} engine", name(engine)),
            points.into_iter().collect::<anyhow::Result<_>>()?,
        );
    }
    for engine in [Engine::Event, Engine::Dense] {
        let points = [1i64, 2, 4, 8].map(|width| {
            let vs = nn::VarStore::new(Device::Cpu);
            let network = wide(width, &vs)?;
            let few = repeated(&test, 20);
            // Convolutions behind the first grow with the square, and are nearly all of the work.
            let work = 20.0 * (width * width) as f64;
            Ok((width as f64, work, seconds(&network, &few, 30, engine)?))
        });
        row(
            &format!("width x1 to x8, 20 images, {} engine", name(engine)),
            points.into_iter().collect::<anyhow::Result<_>>()?,
        );
    }
    let figure = chart(&Chart {
        title: "Time of spiking inference".into(),
        x_label: "work (images of 30 steps; times the square of the width)".into(),
        y_label: "time (s)".into(),
        series,
        x_log: true,
        y_log: true,
        ..Chart::default()
    });
    let path = folder.map_or_else(|| PathBuf::from("target"), PathBuf::from).join("scaling.png");
    figure.save(&path)?;
    println!("see {}", path.display());
    Ok(())
}

fn name(engine: Engine) -> &'static str {
    if engine == Engine::Event { "event" } else { "dense" }
}

/// The shortest of three runs, or of one that takes long.
fn seconds(network: &SpikingSequential, images: &Labelled, steps: i64, engine: Engine) -> anyhow::Result<f64> {
    let options = SpikingOptions { steps, engine, ..SpikingOptions::default() };
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        let evaluation = spiking_with(network, images, options, &mut |_| ())?;
        best = best.min(evaluation.seconds);
        if start.elapsed().as_secs() >= 2 {
            break;
        }
    }
    Ok(best)
}

/// The first `count` images, from the start again beyond the last.
fn repeated(test: &Labelled, count: i64) -> Labelled {
    let index = Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(test.len());
    Labelled { images: test.images.index_select(0, &index), labels: test.labels.index_select(0, &index) }
}

/// The reference network with so many times the channels.
fn wide(width: i64, vs: &nn::VarStore) -> anyhow::Result<SpikingSequential> {
    let neurons = || NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
    let spec = Builder::new([1, 28, 28])
        .layer(Conv2d::new(32 * width, 3))
        .layer(neurons())
        .layer(Conv2d::new(64 * width, 3).stride(2))
        .layer(neurons())
        .layer(Conv2d::new(128 * width, 3).stride(2))
        .layer(neurons())
        .flatten()
        .linear(10)
        .layer(Synapse::Lowpass { tau: 0.1 })
        .into_spec();
    Ok(SpikingSequential::new(&vs.root(), &spec, 0)?)
}
