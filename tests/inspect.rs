//! The command `inspect`, run.

#![cfg(feature = "cli")]

#[path = "common/weights.rs"]
mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{CPU, folder, network};
use tch::{Kind, Tensor};
use tch_spiking::NetworkSpec;
use tch_spiking::weights::{self, Provenance};

/// What `inspect PATH` prints.
fn inspect(path: &Path, options: &[&str]) -> std::process::Output {
    let program = env!("CARGO_BIN_EXE_tch-spiking");
    std::process::Command::new(program).arg("inspect").arg(path).args(options).output().unwrap()
}

#[test]
fn inspect_shows_networks_and_checkpoints() {
    let folder = folder();
    let path = folder.path().join("last.safetensors");
    let (_vs, reference) = network(&NetworkSpec::reference(), 3, Kind::Float);
    let state = vec![("optimizer.step".to_string(), Tensor::from(7_i64))];
    let provenance = Provenance { dataset: Some("mnist".to_string()), ..Provenance::default() };
    weights::save_network_with(&path, &reference, &provenance, &state).unwrap();

    // The folder stands for its newest checkpoint.
    let output = inspect(folder.path(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in ["checkpoint", "158,730", "34,048", "3x3, stride 2", "128x5x5", "optimizer state: 1", "mnist", "Float"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }

    let output = inspect(&path, &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["parameters"], &json["neurons"]), (&158_730.into(), &34_048.into()));
    assert_eq!((&json["layers"][2]["name"], &json["layers"][2]["parameters"]), (&"conv2".into(), &18_496.into()));
    assert_eq!((&json["format"], &json["metadata"]["seed"]), (&"checkpoint".into(), &"3".into()));
    assert_eq!(json["bytes"], std::fs::metadata(&path).unwrap().len());
}

#[test]
fn inspect_shows_foreign_files_and_experiments_and_refuses_the_rest() {
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    let foreign = [("fc.weight".to_string(), Tensor::zeros([10, 20], (Kind::Half, CPU)))];
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    weights::write(&file("foreign.safetensors"), &foreign, &metadata).unwrap();
    let text = String::from_utf8(inspect(&file("foreign.safetensors"), &[]).stdout).unwrap();
    assert!(text.contains("fc.weight  10x20  Half") && text.contains("format  pt"), "{text}");

    std::fs::write(file("experiment.toml"), "seed = 9").unwrap();
    let text = String::from_utf8(inspect(&file("experiment.toml"), &[]).stdout).unwrap();
    assert!(text.contains("158,730") && text.contains("experiment"), "{text}");

    std::fs::write(file("page"), "<html>not found</html>").unwrap();
    for (name, expected) in [("page", "a web page"), ("none", "cannot read"), (".", "last.safetensors")] {
        let output = inspect(&file(name), &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text.contains(expected) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn inspect_shows_what_pytorch_and_numpy_saved() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (name, parts) in [
        ("checkpoint.pt", ["pytorch,", "model.conv.weight", "2x1x3x3", "Int64", "epoch", "optimizer state"]),
        ("half.pt", ["pytorch,", "conv.weight", "2x1x3x3", "Half", "scalar", "norm.num_batches_tracked"]),
        ("scripted.pt", ["torchscript,", "scale.mean", "2x3", "Float", "scalar", "Int64"]),
        ("arrays_compressed.npz", ["npz,", "fortran", "2x3x2", "Double", "0x3", "Bool"]),
    ] {
        let text = String::from_utf8(inspect(&fixtures.join(name), &[]).stdout).unwrap();
        parts.iter().for_each(|part| assert!(text.contains(part), "no {part} in\n{text}"));
    }
    let output = inspect(&fixtures.join("module.pt"), &[]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("__main__.Net"));
}
