//! The specification of a whole network.

use serde::{Deserialize, Serialize};

use super::{Conv2d, InitialVoltage, LayerKind, LayerSpec, Linear, NetworkError, NeuronSpec};
use crate::neuron::Lif;
use crate::synapse::Synapse;

/// A network specification: what a TOML file or the metadata of a weights file holds.
///
/// Layers are connected in order; a layer with `from` reads the nodes that it names instead.
///
/// ```
/// use tch_spiking_core::NetworkSpec;
///
/// let spec: NetworkSpec = toml::from_str(r#"
///     input = [1, 28, 28]
///     layers = [
///         { type = "conv2d", out_channels = 32, kernel = 3 },
///         { type = "lif", amplitude = 0.01, max_rate = 100.0, intercept = 0.0 },
///         { type = "flatten" },
///         { type = "linear", out_features = 10 },
///         { type = "lowpass", tau = 0.1 },
///     ]
/// "#)?;
/// assert_eq!(spec.dt, 0.001);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Shape of one sample, `[C, H, W]` for images or `[features]`.
    pub input: Vec<i64>,
    /// Timestep in inference (s).
    #[serde(default = "default_dt")]
    pub dt: f64,
    /// Default number of timesteps of an inference.
    #[serde(default = "default_steps")]
    pub steps: i64,
    /// Initial membrane voltage of the neurons.
    #[serde(default)]
    pub initial_voltage: InitialVoltage,
    /// Layers, in order. Neurons with the key `recurrent` stand for several: see [`Layers`](super::Layers).
    #[serde(deserialize_with = "super::recurrent::layers")]
    pub layers: Vec<LayerSpec>,
}

/// The timesteps that all formulas compute with in `f32` (s).
const TIMESTEPS: std::ops::RangeInclusive<f64> = 1e-9..=1e3;

/// More timesteps are assumed to be a mistake: at a millisecond each, this is a quarter of an hour.
const MOST_STEPS: i64 = 1_000_000;

fn default_dt() -> f64 {
    0.001
}

fn default_steps() -> i64 {
    30
}

impl NetworkSpec {
    /// Creates a network without layers, for samples of this shape.
    pub fn new(input: impl Into<Vec<i64>>) -> Self {
        Self {
            input: input.into(),
            dt: default_dt(),
            steps: default_steps(),
            initial_voltage: InitialVoltage::default(),
            layers: Vec::new(),
        }
    }

    /// Returns the reference network of NengoDL's spiking-MNIST example: three convolutions of 32, 64 and 128 channels,
    /// each with LIF neurons (amplitude 0.01, 100 Hz at 1, intercept 0), a linear readout, and a lowpass filter of 0.1
    /// s. Its input is raw pixels, 0 to 255.
    pub fn reference() -> Self {
        let neurons = || NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
        let layers: [LayerSpec; 9] = [
            Conv2d::new(32, 3).into(),
            neurons().into(),
            Conv2d::new(64, 3).stride(2).into(),
            neurons().into(),
            Conv2d::new(128, 3).stride(2).into(),
            neurons().into(),
            LayerKind::Flatten.into(),
            Linear::new(10).into(),
            Synapse::Lowpass { tau: 0.1 }.into(),
        ];
        Self { layers: layers.into(), ..Self::new([1, 28, 28]) }
    }

    /// Validates the settings that do not depend on layer shapes.
    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        let fail = |cause: String| Err(NetworkError::Specification(cause));
        if self.input.is_empty() || self.input.iter().any(|&size| size < 1) {
            return fail(format!("input = {:?}: expected the shape of one sample, such as [1, 28, 28]", self.input));
        }
        if self.layers.is_empty() {
            return fail("there are no layers".to_string());
        }
        if !TIMESTEPS.contains(&self.dt) {
            let (least, most) = (TIMESTEPS.start(), TIMESTEPS.end());
            return fail(format!(
                "dt = {}: expected a time above 0 s, {least:e} to {most:e} s, such as 0.001",
                self.dt
            ));
        }
        if !(1..=MOST_STEPS).contains(&self.steps) {
            return fail(format!("steps = {}: expected 1 to {MOST_STEPS}", self.steps));
        }
        self.initial_voltage.validate().or_else(fail)
    }

    /// Returns the name of every layer: its own, or its type with a number counted per type (`conv1`, `lif1`, `conv2`).
    pub fn layer_names(&self) -> Vec<String> {
        names_of(&self.layers)
    }
}

/// The name of every layer.
pub(super) fn names_of(layers: &[LayerSpec]) -> Vec<String> {
    let mut counts = std::collections::HashMap::new();
    let named = |layer: &LayerSpec| {
        let stem = layer.kind.name_stem();
        let count = counts.entry(stem.to_string()).or_insert(0);
        *count += 1;
        layer.name.clone().unwrap_or_else(|| match layer.kind {
            LayerKind::Custom(_) if *count == 1 => stem.to_string(),
            _ => format!("{stem}{count}"),
        })
    };
    layers.iter().map(named).collect()
}
