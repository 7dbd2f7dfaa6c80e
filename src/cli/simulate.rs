//! `simulate`: figures of the classification of single images as spikes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use tch::Tensor;
use tch_spiking::data::Images;
use tch_spiking::device;
use tch_spiking::engine::{Activity, Engine, Probe, Simulation};
use tch_spiking::report::{RasterLayer, SimulationFigure, read_grayscale, simulation};
use tch_spiking::train::labelled;
use tch_spiking::{Error, SpikingSequential};

use super::Console;
use super::chosen::{EngineArgs, ImageArgs, NetworkArgs};
use super::train::percent;

/// Draw the classification of single images: the output over time and the spikes of every layer
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tch-spiking simulate                          the first test image
  tch-spiking simulate --index 0 1 2 --steps 60
  tch-spiking simulate --image my-seven.png --invert     black ink on white paper
  tch-spiking simulate --weights runs/1/best.safetensors --out pictures

Each image gives a PNG and an SVG. A raster shows neurons that spike, an even selection if there are too many.")]
pub struct SimulateArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
    /// Indices of test images, from 0
    #[arg(long, value_name = "I", num_args = 1.., default_values_t = [0], conflicts_with = "image")]
    index: Vec<usize>,
    /// A PNG file, converted to greyscale and resized
    #[arg(long, value_name = "FILE.png")]
    image: Option<PathBuf>,
    /// Invert --image: the networks expect white ink on black
    #[arg(long, requires = "image")]
    invert: bool,
    /// Timesteps [default: from the network, usually 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000))]
    steps: Option<i64>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Folder for the figures
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// The maximum number of neurons in a raster.
const ROWS: usize = 120;

/// An image to classify.
struct Subject {
    /// Its name in the title and in file names.
    title: String,
    stem: String,
    label: Option<usize>,
    image: Images,
}

pub fn run(args: &SimulateArgs, console: &Console) -> anyhow::Result<()> {
    let device = device::resolve(console.device)?;
    let (name, loaded) = args.network.load(device, console)?;
    let network = &loaded.network;
    let (subjects, class_names) = match &args.image {
        Some(path) => (vec![own_image(path, args.invert, network)?], digits(network)),
        None => {
            let data = args.images.load(&loaded, None, console)?;
            (test_images(&data.test, &args.index)?, data.class_names)
        }
    };
    std::fs::create_dir_all(&args.out).map_err(|source| Error::io("create the folder", &args.out, source))?;
    let steps = args.steps.unwrap_or(network.spec().steps);
    let results = subjects
        .iter()
        .map(|subject| draw(network, subject, &class_names, (steps, args.engine.engine()), &args.out, console))
        .collect::<anyhow::Result<Vec<Value>>>()?;
    console.emit(&json!({ "network": name, "steps": steps, "dt": network.spec().dt, "images": results }))
}

fn own_image(path: &Path, invert: bool, network: &SpikingSequential) -> anyhow::Result<Subject> {
    let &[1, height, width] = network.spec().input.as_slice() else {
        bail!(
            "--image needs a network with input [1, height, width], but this network has input {:?}",
            network.spec().input
        )
    };
    let (height, width) = (usize::try_from(height)?, usize::try_from(width)?);
    let mut pixels = read_grayscale(path, width, height)?;
    if invert {
        pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    }
    let name = path.file_stem().map_or("image".into(), |name| name.to_string_lossy());
    // Differs from the image's name, so that the figure does not overwrite it.
    let stem = format!("spikes-{name}");
    let title = path.file_name().map_or(stem.clone(), |name| name.to_string_lossy().into_owned());
    let image = Images { pixels, labels: vec![0], channels: 1, height, width };
    Ok(Subject { title, stem, label: None, image })
}

fn test_images(test: &Images, indices: &[usize]) -> anyhow::Result<Vec<Subject>> {
    let subject = |&index: &usize| {
        let image = test.range(index..index.saturating_add(1));
        let label = *image.labels.first().with_context(|| {
            format!("there is no test image {index}: expected 0 to {}", test.len().saturating_sub(1))
        })?;
        let stem = format!("spikes-{index}");
        Ok(Subject { title: format!("Test image {index}"), stem, label: Some(usize::from(label)), image })
    };
    indices.iter().map(subject).collect()
}

/// Class names for images that belong to no data set.
fn digits(network: &SpikingSequential) -> Vec<String> {
    (0..network.output_shape().first().copied().unwrap_or(0)).map(|class| class.to_string()).collect()
}

fn draw(
    network: &SpikingSequential,
    subject: &Subject,
    class_names: &[String],
    (steps, engine): (i64, Engine),
    out: &Path,
    console: &Console,
) -> anyhow::Result<Value> {
    let layers: Vec<_> = network.layers().iter().filter(|layer| layer.neurons() > 0).collect();
    let probes: Vec<Probe> = layers.iter().map(|layer| Probe::output(layer.name())).collect();
    let input = labelled(&subject.image, network)?.images.to_kind(network.kind());
    let how = Simulation { steps, probes: &probes, engine, ..Simulation::default() };
    let recording = how.run(network, &Activity::constant(&input))?;
    let output = (0..steps)
        .map(|step| Vec::<f32>::try_from(recording.output.get(step).get(0).to_kind(tch::Kind::Float)))
        .collect::<Result<Vec<_>, _>>()?;
    let duration = steps as f64 * network.spec().dt;
    let rasters = layers
        .iter()
        .zip(&probes)
        .filter_map(|(layer, probe)| Some(raster(layer.name(), recording.get(probe)?, duration)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let figure = SimulationFigure {
        title: subject.title.clone(),
        image: subject.image.pixels.iter().take(subject.image.height * subject.image.width).copied().collect(),
        image_height: subject.image.height,
        image_width: subject.image.width,
        dt: network.spec().dt,
        class_names: class_names.to_vec(),
        output,
        label: subject.label,
        layers: rasters,
    };
    let picture = simulation(&figure);
    let files = ["png", "svg"].map(|extension| out.join(format!("{}.{extension}", subject.stem)));
    files.iter().try_for_each(|file| picture.save(file))?;

    let name = |class: usize| class_names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let prediction = figure.prediction();
    let margin = softmax(figure.output.last().map_or(&[], Vec::as_slice));
    console.print(&format!(
        "{}: predicted {}{} ({} of the softmax)   {}",
        subject.title,
        prediction.map_or("nothing".to_string(), name),
        subject.label.map_or(String::new(), |label| format!(", is {}", name(label))),
        percent(prediction.and_then(|class| margin.get(class)).copied().unwrap_or(0.0)),
        files[0].display()
    ));
    Ok(json!({
        "image": subject.title,
        "label": subject.label,
        "prediction": prediction,
        "output": figure.output.last(),
        "layers": figure.layers.iter().map(|layer| json!({ "name": layer.name, "mean_rate": layer.mean_rate }))
            .collect::<Vec<_>>(),
        "files": files.map(|file| file.to_string_lossy().into_owned()),
    }))
}

/// Extracts the spikes of one image in a layer from its output over time `[T, 1, S]`.
fn raster(name: &str, output: &Tensor, duration: f64) -> anyhow::Result<RasterLayer> {
    let spiking = output.flatten(1, -1).gt(0.0); // [T, neurons]
    let neurons = spiking.size()[1];
    let active = Vec::<i64>::try_from(spiking.any_dim(0, false).nonzero().flatten(0, -1))?;
    // An even selection of those that spike, in the order of the layer, so that its structure is visible.
    let shown: Vec<i64> = match active.len() {
        count if count <= ROWS => active,
        count => (0..ROWS).map(|row| active[row * count / ROWS]).collect(),
    };
    let rows = spiking.index_select(1, &Tensor::from_slice(&shown).to_device(spiking.device()));
    let pairs = Vec::<i64>::try_from(rows.nonzero().flatten(0, -1))?;
    let spikes = pairs.chunks_exact(2).map(|pair| Ok((u32::try_from(pair[0])?, u32::try_from(pair[1])?)));
    let total = spiking.sum(tch::Kind::Double).double_value(&[]);
    Ok(RasterLayer {
        name: name.to_string(),
        neurons: usize::try_from(neurons)?,
        shown: shown.len(),
        spikes: spikes.collect::<anyhow::Result<_>>()?,
        mean_rate: total / neurons as f64 / duration,
    })
}

fn softmax(outputs: &[f32]) -> Vec<f64> {
    let highest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = outputs.iter().map(|&output| f64::from(output - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
