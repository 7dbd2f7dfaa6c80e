//! `inspect`: the contents of a weights file, a checkpoint or an experiment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tch::{Device, nn};
use tch_spiking::network::{
    BatchNorm, Distribution, Edge, Layer, LayerKind, NeuronSpec, Origin, Pair, PerChannel, Pool, Standardize, Tuning,
};
use tch_spiking::weights::{self, OPTIMIZER_PREFIX, WeightsError};
use tch_spiking::{Error, Experiment, SpikingSequential};

use super::Console;

/// The files to look for in a folder: the latest checkpoint of a run, or the weights of a pretrained network.
const IN_FOLDER: [&str; 2] = ["last.safetensors", "weights.safetensors"];

/// Show the contents of a weights file, a checkpoint, a run folder or an experiment
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tch-spiking inspect runs/first                                    its latest checkpoint
  tch-spiking inspect pretrained/mnist-lif/weights.safetensors
  tch-spiking inspect experiment.toml                               the network before training
  tch-spiking inspect model.pt                                      a file from PyTorch or NumPy
  tch-spiking inspect weights.safetensors --json | jq .parameters")]
pub struct InspectArgs {
    /// Weights file of any format, checkpoint, run folder, or experiment (.toml)
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Report {
    file: String,
    format: &'static str,
    bytes: u64,
    #[serde(flatten)]
    network: Option<Network>,
    tensors: Vec<TensorRow>,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Network {
    input: Vec<i64>,
    dt: f64,
    steps: i64,
    layers: Vec<LayerRow>,
    parameters: i64,
    neurons: i64,
}

#[derive(Serialize)]
struct LayerRow {
    name: String,
    r#type: String,
    settings: String,
    output_shape: Vec<i64>,
    parameters: i64,
    neurons: i64,
    /// Parameters of the neuron model and its tuning.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    neuron: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct TensorRow {
    name: String,
    shape: Vec<i64>,
    kind: String,
}

pub fn run(args: &InspectArgs, console: &Console) -> anyhow::Result<()> {
    let path = file_of(&args.file)?;
    let is_experiment = path.extension().is_some_and(|extension| extension == "toml");
    let report = if is_experiment { of_experiment(path)? } else { of_weights(path)? };
    console.print(&describe(&report));
    console.emit(&report)
}

/// The file itself, or the file to inspect in a folder.
fn file_of(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let file = IN_FOLDER.iter().map(|name| path.join(name)).find(|file| file.is_file());
    file.with_context(|| {
        format!("{}: expected a folder that contains {}, found neither", path.display(), IN_FOLDER.join(" or "))
    })
}

fn of_experiment(path: PathBuf) -> anyhow::Result<Report> {
    let experiment = Experiment::from_file(&path)?;
    let vs = nn::VarStore::new(Device::Cpu);
    let network = SpikingSequential::new(&vs.root(), &experiment.network, experiment.seed)?;
    let mut metadata = BTreeMap::from([("seed".to_string(), experiment.seed.to_string())]);
    let dataset = experiment.data.dataset.to_possible_value();
    metadata.extend(dataset.map(|dataset| ("dataset".to_string(), dataset.get_name().to_string())));
    let bytes = size(&path)?;
    Ok(Report {
        file: path.to_string_lossy().into_owned(),
        format: "experiment",
        bytes,
        network: Some(of_network(&network)),
        tensors: vec![],
        metadata,
    })
}

fn of_weights(path: PathBuf) -> anyhow::Result<Report> {
    let format = weights::format_of(&path)?;
    let file = weights::read(&path)?;
    let metadata = file.metadata.clone();
    let row = |name: &String| {
        let tensor = file.tensors.get(name)?;
        Some(TensorRow { name: name.clone(), shape: tensor.size(), kind: format!("{:?}", tensor.kind()) })
    };
    let tensors: Vec<_> = file.order.iter().filter_map(row).collect();
    let network = match weights::network_from(&path, file, Device::Cpu) {
        Ok(loaded) => Some(of_network(&loaded.network)),
        Err(Error::Weights(WeightsError::File { cause, .. }))
            if matches!(*cause, WeightsError::NoSpecification { .. }) =>
        {
            None
        }
        Err(error) => return Err(error.into()),
    };
    let format = match network {
        None => format.name(),
        Some(_) if tensors.iter().any(TensorRow::is_optimizer) => "checkpoint",
        Some(_) => "weights",
    };
    Ok(Report { bytes: size(&path)?, file: path.to_string_lossy().into_owned(), format, network, tensors, metadata })
}

fn size(path: &Path) -> anyhow::Result<u64> {
    Ok(path.metadata().map_err(|source| Error::io("read", path, source))?.len())
}

impl TensorRow {
    fn is_optimizer(&self) -> bool {
        self.name.starts_with(OPTIMIZER_PREFIX)
    }
}

fn of_network(network: &SpikingSequential) -> Network {
    let row = |(index, layer): (usize, &Layer)| LayerRow {
        name: layer.name().to_string(),
        r#type: layer.kind().type_name().to_string(),
        settings: settings(layer.kind(), reads(index, layer, network)),
        output_shape: layer.output_shape().to_vec(),
        parameters: layer.named_parameters().iter().map(|(_, tensor)| tensor.numel() as i64).sum(),
        neurons: layer.neurons(),
        neuron: match layer.kind() {
            LayerKind::Neuron(neurons) => neuron_settings(neurons),
            _ => BTreeMap::new(),
        },
    };
    let layers: Vec<_> = network.layers().iter().enumerate().map(row).collect();
    Network {
        input: network.spec().input.clone(),
        dt: network.spec().dt,
        steps: network.spec().steps,
        parameters: layers.iter().map(|layer| layer.parameters).sum(),
        neurons: layers.iter().map(|layer| layer.neurons).sum(),
        layers,
    }
}

/// The inputs of a layer, unless it only reads the layer before it.
fn reads(index: usize, layer: &Layer, network: &SpikingSequential) -> String {
    let before = index.checked_sub(1).map_or(Origin::Input, Origin::Node);
    if matches!(layer.inputs(), [edge] if edge.from == before && !edge.delayed) {
        return String::new();
    }
    let name = |edge: &Edge| {
        let name = match edge.from {
            Origin::Input => "input",
            Origin::Node(from) => network.layers()[from].name(),
        };
        if edge.delayed { format!("{name} (a step later)") } else { name.to_string() }
    };
    format!("of {}", layer.inputs().iter().map(name).collect::<Vec<_>>().join(", "))
}

/// The settings of a layer that its output shape does not show.
fn settings(kind: &LayerKind, reads: String) -> String {
    let pair = |Pair(height, width): Pair| format!("{height}x{width}");
    let unless = |text: String, usual: bool| if usual { String::new() } else { text };
    let step = |Pair(height, width): Pair| if height == width { height.to_string() } else { pair(Pair(height, width)) };
    let stride = |stride: Pair, usual: Pair| unless(format!("stride {}", step(stride)), stride == usual);
    let padding = |padding: Pair| unless(format!("padding {}", step(padding)), padding == Pair(0, 0));
    let parts = match kind {
        LayerKind::Conv2d(conv) => vec![
            pair(conv.kernel),
            stride(conv.stride, Pair(1, 1)),
            padding(conv.padding),
            unless(format!("dilation {}", step(conv.dilation)), conv.dilation == Pair(1, 1)),
            unless(format!("{} groups", conv.groups), conv.groups == 1),
            unless("no bias".to_string(), conv.bias),
        ],
        LayerKind::Linear(linear) => vec![unless("no bias".to_string(), linear.bias)],
        LayerKind::AvgPool(pool) | LayerKind::MaxPool(pool) => {
            let &Pool { kernel, stride: step, padding: zeros } = pool;
            vec![pair(kernel), stride(step.unwrap_or(kernel), kernel), padding(zeros)]
        }
        LayerKind::Dropout(dropout) => vec![format!("p {}", dropout.p)],
        LayerKind::Synapse(spec) => {
            let tau = spec.synapse.tau();
            vec![if spec.learn { format!("tau learned from {tau} s") } else { format!("tau {tau} s") }]
        }
        LayerKind::LeakyRelu(layer) => vec![format!("slope {}", layer.negative_slope)],
        LayerKind::Scale(layer) => {
            vec![unless("one weight".to_string(), !layer.shared), unless("fixed".to_string(), layer.trainable)]
        }
        LayerKind::BatchNorm(norm) => vec![
            unless(format!("eps {}", norm.eps), norm.eps == BatchNorm::default().eps),
            unless(format!("momentum {}", norm.momentum), norm.momentum == BatchNorm::default().momentum),
            unless("no weight and bias".to_string(), norm.affine),
        ],
        LayerKind::Standardize(Standardize { mean: Some(mean), std: Some(std) }) => {
            vec![format!("mean {}, std {}", per_channel(mean), per_channel(std))]
        }
        LayerKind::Standardize(_) => vec!["by the training samples".to_string()],
        LayerKind::Neuron(neurons) => {
            let scale = neurons.firing_rate_scale;
            vec![
                unless("fixed bias".to_string(), neurons.trainable_bias),
                unless(format!("learns {}", neurons.learn.join(" and ")), neurons.learn.is_empty()),
                unless(format!("rates x {scale}"), scale == 1.0),
            ]
        }
        LayerKind::Flatten | LayerKind::Relu | LayerKind::Add | LayerKind::Concat | LayerKind::Custom(_) => vec![],
    };
    parts.into_iter().chain([reads]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn per_channel(numbers: &PerChannel) -> String {
    match numbers {
        PerChannel::One(number) => number.to_string(),
        PerChannel::Each(numbers) => format!("{numbers:?}"),
    }
}

fn neuron_settings(neurons: &NeuronSpec) -> BTreeMap<String, String> {
    let distribution = |value| match value {
        Distribution::Constant(value) => format!("{value}"),
        Distribution::Uniform { uniform: [low, high] } => format!("{low} to {high}"),
    };
    let tuning = match neurons.tuning {
        Tuning::Rates { max_rate, intercept } => [("max_rate", max_rate), ("intercept", intercept)],
        Tuning::Direct { gain, bias } => [("gain", gain), ("bias", bias)],
    };
    let parameters = neurons.model.parameters().into_iter().map(|(name, value)| (name, value.to_string()));
    parameters.chain(tuning.map(|(name, value)| (name.to_string(), distribution(value)))).collect()
}

fn describe(report: &Report) -> String {
    let mut kinds: Vec<_> = report.tensors.iter().filter(|row| !row.is_optimizer()).map(|row| &*row.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kinds = if kinds.is_empty() { String::new() } else { format!(", {}", kinds.join(" and ")) };
    let mut text = format!("{}: {}, {} bytes{kinds}\n", report.file, report.format, grouped(report.bytes));
    match &report.network {
        Some(network) => {
            let Network { input, dt, steps, .. } = network;
            text += &format!("input {}, timestep {dt} s, {steps} steps\n\n", sizes(input));
            text += &layer_table(network);
            text += &neuron_lines(network);
        }
        None => {
            let rows = report.tensors.iter().map(|row| [one_line(&row.name), sizes(&row.shape), row.kind.clone()]);
            text += &format!("\n{}", table(["tensor", "shape", "kind"], rows.collect()));
        }
    }
    let state: Vec<_> = report.tensors.iter().filter(|row| row.is_optimizer()).collect();
    if !state.is_empty() {
        let numbers: i64 = state.iter().map(|row| row.shape.iter().product::<i64>()).sum();
        text += &format!("\noptimizer state: {} tensors, {} numbers\n", state.len(), grouped(numbers as u64));
    }
    // The table already shows the specification.
    let facts = report.metadata.iter().filter(|(key, _)| *key != "spec" || report.network.is_none());
    let facts: Vec<_> = facts.map(|(key, value)| [one_line(key), value.replace('\n', "\n    ")]).collect();
    if !facts.is_empty() {
        let width = facts.iter().map(|[key, _]| key.chars().count()).max().unwrap_or(0);
        text.push('\n');
        facts.iter().for_each(|[key, value]| text += &format!("{key:<width$}  {value}\n"));
    }
    text.trim_end().to_string()
}

fn layer_table(network: &Network) -> String {
    let count = |count: i64| if count == 0 { String::new() } else { grouped(count as u64) };
    let row = |layer: &LayerRow| {
        let what = format!("{} {}", layer.r#type, layer.settings).trim_end().to_string();
        [one_line(&layer.name), what, sizes(&layer.output_shape), count(layer.parameters), count(layer.neurons)]
    };
    let mut rows: Vec<_> = network.layers.iter().map(row).collect();
    let none = String::new;
    rows.push(["total".to_string(), none(), none(), count(network.parameters), count(network.neurons)]);
    table(["layer", "type", "output", "parameters", "neurons"], rows)
}

/// One entry for all layers with equal neurons.
fn neuron_lines(network: &Network) -> String {
    let mut groups: Vec<(&LayerRow, Vec<&str>)> = Vec::new();
    for layer in network.layers.iter().filter(|layer| layer.neurons > 0) {
        match groups.iter_mut().find(|(first, _)| first.r#type == layer.r#type && first.neuron == layer.neuron) {
            Some((_, names)) => names.push(&layer.name),
            None => groups.push((layer, vec![&layer.name])),
        }
    }
    let line = |(layer, names): &(&LayerRow, Vec<&str>)| {
        let values: Vec<_> = layer.neuron.iter().map(|(name, value)| format!("{name} {value}")).collect();
        format!("\n{}: {}\n    {}\n", names.join(", "), layer.r#type, values.join(", "))
    };
    groups.iter().map(line).collect()
}

/// A table with columns as wide as their contents; numbers are right-aligned.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let all: Vec<_> = std::iter::once(head.map(str::to_string)).chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|i| all.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let cell = |(i, text): (usize, &String)| match head[i] {
        "parameters" | "neurons" => format!("{text:>width$}", width = widths[i]),
        _ => format!("{text:<width$}", width = widths[i]),
    };
    let line = |row: &[String; N]| {
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    all.iter().map(line).collect()
}

/// A name from a file, of which a line end would look like another row.
fn one_line(name: &str) -> String {
    name.replace('\n', "\\n")
}

fn sizes(shape: &[i64]) -> String {
    if shape.is_empty() { "scalar".to_string() } else { shape.iter().map(i64::to_string).collect::<Vec<_>>().join("x") }
}

/// `158,730`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch_spiking::NetworkSpec;

    #[test]
    fn reference_network_is_shown_in_full() {
        let vs = nn::VarStore::new(Device::Cpu);
        let network = SpikingSequential::new(&vs.root(), &NetworkSpec::reference(), 0).unwrap();
        let network = of_network(&network);
        assert_eq!((network.parameters, network.neurons), (158_730, 34_048));
        let parameters = |name: &str| network.layers.iter().find(|layer| layer.name == name).unwrap().parameters;
        assert_eq!(["conv1", "conv2", "conv3", "linear1"].map(parameters), [320, 18_496, 73_856, 32_010]);

        let table = layer_table(&network);
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[3], "conv2 conv2d 3x3, stride 2 64x12x12 18,496");
        assert_eq!(lines[4], "lif2 lif 64x12x12 9,216 9,216");
        assert_eq!(lines.last().unwrap(), "total 158,730 34,048");
        let neurons = neuron_lines(&network);
        assert!(neurons.contains("lif1, lif2, lif3: lif") && neurons.contains("max_rate 100"), "{neurons}");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn folder_stands_for_its_newest_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        assert!(file_of(folder.path()).unwrap_err().to_string().contains("last.safetensors"));
        for name in IN_FOLDER.iter().rev() {
            let file = folder.path().join(name);
            std::fs::write(&file, "").unwrap();
            assert_eq!(file_of(folder.path()).unwrap(), file);
        }
    }
}
