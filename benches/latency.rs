//! One image at a time through the pretrained reference network, 30 timesteps, one thread: how long an answer takes.
//!
//! `cargo bench --bench latency` prints a line of JSON; the images are MNIST's where it is found, else built-in digits.

use std::time::Instant;

use serde_json::json;
use tch::Device;
use tch_spiking::data::{self, DataConfig};
use tch_spiking::{pretrained, weights};

const IMAGES: usize = 2000;
const STEPS: usize = 30;

fn main() -> tch_spiking::Result<()> {
    tch::set_num_threads(1);
    let loaded = weights::load_network(&pretrained::find(pretrained::DEFAULT)?, Device::Cpu)?;
    let config = DataConfig { train_images: Some(0), validation_images: 0, ..DataConfig::default() };
    let test = data::load(&config, 0, &mut |text| eprintln!("{text}"))?.test;
    let network = loaded.network.compile::<f32>()?;
    let pixels: Vec<f32> = test.pixels.iter().map(|&pixel| f32::from(pixel)).collect();
    let images: Vec<&[f32]> = pixels.chunks_exact(28 * 28).take(IMAGES).collect();
    for image in images.iter().take(100) {
        network.run(image, STEPS)?;
    }
    let (mut times, mut right) = (Vec::new(), 0);
    for (image, &label) in images.iter().zip(&test.labels) {
        let start = Instant::now();
        let response = network.run(image, STEPS)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        right += usize::from(response.prediction() == usize::from(label));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let accuracy = right as f64 / times.len().max(1) as f64;
    let result = json!({
        "framework": "tch-spiking", "images": times.len(), "steps": STEPS, "threads": 1,
        "median_ms": at(0.5), "p99_ms": at(0.99), "accuracy": accuracy,
    });
    println!("{result}");
    Ok(())
}
