//! Weights of other programs, as a user brings them: `--weights`, `--config`, `--map`, `convert`, `export`.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeMap;

use command::{Place, assert_says};
use tch::Tensor;
use tch_spiking::weights;

/// Names as PyTorch gives them, in the order of the layers.
const NAMES: [(&str, &str); 3] =
    [("conv1.weight", "module.0.weight"), ("linear1.weight", "module.3.weight"), ("linear1.bias", "module.3.bias")];

/// With a trained ReLU network in `run`, and its weights under other names and without a specification in
/// `foreign.safetensors`.
fn place() -> Place {
    let place = Place::new();
    let neurons = r#"{ type = "lif", amplitude = 0.01, smoothing = 0.005, max_rate = 100.0, intercept = 0.0 },"#;
    place.edit("experiment.toml", neurons, r#"{ type = "relu" },"#);
    place.succeed("train --config experiment.toml --out run --epochs 2");
    let own = weights::read(&place.path("run/best.safetensors")).unwrap().tensors;
    let renamed: Vec<(String, Tensor)> = own
        .iter()
        .filter(|(name, _)| !name.starts_with(weights::OPTIMIZER_PREFIX))
        .map(|(name, tensor)| {
            let foreign = NAMES.iter().find(|(ours, _)| ours == name).map(|(_, foreign)| (*foreign).to_string());
            (foreign.unwrap_or_else(|| format!("module.{}", name.replace("conv1", "0"))), tensor.shallow_clone())
        })
        .collect();
    weights::write(&place.path("foreign.safetensors"), &renamed, &BTreeMap::new()).unwrap();
    place
}

#[test]
fn weights_without_a_network_are_matched_with_an_experiments() {
    let place = place();
    let alone = place.fail("evaluate --weights foreign.safetensors");
    assert_says(&alone, &["does not say what network", "--config", "module.0.weight"]);
    let own = place.succeed("evaluate --weights run/best.safetensors --limit 50 --json").json();
    let line = "--weights foreign.safetensors --config experiment.toml";
    let said = place.succeed(&format!("evaluate {line} --dataset digits --limit 50 --json"));
    assert_says(&said.stderr, &["weights matched", "conv1.weight", "module.0.weight"]);
    assert_eq!(said.json()["rate_accuracy"], own["rate_accuracy"]);

    // From there training goes on, and conversion.
    place.succeed(&format!("train {line} --epochs 1 --out tuned"));
    assert_ne!(place.tensors("tuned/best.safetensors"), place.tensors("run/best.safetensors"));
    place.succeed("convert-network foreign.safetensors snn.safetensors --config experiment.toml");
    place.succeed("evaluate --weights snn.safetensors --dataset digits --limit 10");

    // Through NumPy and back.
    place.succeed("convert foreign.safetensors foreign.npz --compress");
    let line = "--weights foreign.npz --config experiment.toml --dataset digits --limit 50 --json";
    assert_eq!(place.succeed(&format!("evaluate {line}")).json()["rate_accuracy"], own["rate_accuracy"]);
}

#[test]
fn a_map_says_what_names_and_order_do_not() {
    let place = place();
    place
        .write("map.toml", "[map]\n\"conv1.weight\" = \"module.0.weight\"\n\"linear1.weight\" = \"module.3.weight\"\n");
    let line = "evaluate --weights foreign.safetensors --config experiment.toml --dataset digits --limit 10";
    place.succeed(&format!("{line} --map map.toml"));
    place.write("wrong.toml", "[map]\n\"conv1.weight\" = \"module.9.weight\"\n");
    assert_says(&place.fail(&format!("{line} --map wrong.toml")), &["module.9.weight"]);
    place.write("wrong.toml", "[map\n");
    assert_says(&place.fail(&format!("{line} --map wrong.toml")), &["wrong.toml"]);
}

#[test]
fn what_does_not_fit_is_said_at_once_and_nothing_is_written() {
    let place = place();
    place.edit("experiment.toml", "out_features = 10", "out_features = 11");
    let error = place.fail("train --weights foreign.safetensors --config experiment.toml --out tuned");
    assert_says(&error, &["the weights do not fit the network", "linear1.weight", "expected 11x"]);
    assert!(!place.path("tuned").exists());
    place.refused(2, "evaluate --weights foreign.safetensors --map map.toml");
    assert_says(&place.fail("evaluate --config experiment.toml"), &["give the weights file too"]);
}
