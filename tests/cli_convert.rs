//! The command `convert`, run.

#![cfg(feature = "cli")]

#[path = "common/weights.rs"]
mod common;

use std::path::Path;
use std::process::Output;

use common::folder;
use tch_spiking::weights;

/// What `convert OPTIONS` says, in the folder `place`.
fn convert(place: &Path, options: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_tch-spiking");
    std::process::Command::new(program).arg("convert").args(options).current_dir(place).output().unwrap()
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_checkpoint_becomes_safetensors_and_arrays() {
    let folder = folder();
    let output = convert(folder.path(), &[&fixture("checkpoint.pt"), "a.safetensors"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("checkpoint.pt (pytorch)") && text.contains("a.safetensors: 27 tensors"), "{text}");
    let output = convert(folder.path(), &["a.safetensors", "b.npz", "--compress", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["from"], json["tensors"].as_array().unwrap().len()), (&"safetensors".into(), 27));
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.contains("npz has no metadata") && notes.contains("epoch"), "{notes}");
    let [first, second] = ["a.safetensors", "b.npz"].map(|name| weights::read(&folder.path().join(name)).unwrap());
    assert_eq!(first.tensors, second.tensors);

    let output = convert(folder.path(), &[&fixture("bfloat16.pt"), "c", "--format", "npz"]);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && notes.contains("bfloat16 became float32"), "{notes}");
}

#[test]
fn what_cannot_be_converted_is_said_and_nothing_written() {
    let folder = folder();
    std::fs::copy(fixture("arrays.npz"), folder.path().join("a.npz")).unwrap();
    let half = fixture("half.pt");
    for (options, expected) in [
        (["a.npz", "a.npz"].as_slice(), "choose another output name"),
        (&["a.npz", "./a.npz", "--format", "safetensors"], "choose another output name"),
        (&["a.npz", "b.bin"], "expected a name that ends with .safetensors or .npz"),
        (&[&half, "b.safetensors", "--compress"], "--compress is for npz only"),
        (&[&fixture("module.pt"), "b.npz"], "torch.save(model.state_dict(), path)"),
        (&["none", "b.npz"], "cannot read none"),
    ] {
        let output = convert(folder.path(), options);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text.contains(expected) && text.lines().count() == 1, "{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
