//! `convert-network` as a user runs it.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use command::{Place, assert_says};

/// With a ReLU network that has learned the built-in digits, in `run`.
fn trained() -> Place {
    let place = Place::new();
    let neurons = r#"{ type = "lif", amplitude = 0.01, smoothing = 0.005, max_rate = 100.0, intercept = 0.0 },"#;
    place.edit("experiment.toml", neurons, r#"{ type = "batch_norm" }, { type = "relu" },"#);
    place.edit("experiment.toml", r#"    { type = "lowpass", tau = 0.01 },"#, "");
    place.edit("experiment.toml", "steps = 10", "steps = 30");
    place.succeed("train --config experiment.toml --out run --epochs 8");
    place
}

#[test]
fn a_trained_network_is_converted_verified_and_used() {
    let place = trained();
    let said = place.succeed("convert-network run/best.safetensors snn.safetensors --verify --json");
    let parts = [
        "folded into conv1",
        "to rectified_linear",
        "removed",
        "written to snn.safetensors",
        "correlation",
        "see snn.report.json",
    ];
    assert_says(&said.stderr, &parts);
    let naive = said.json();
    let report = &naive["report"];
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert!(number(&report["largest_difference"]) < 1e-4, "{report}");
    assert_eq!(report["source_accuracy"], report["rate_accuracy"]);
    assert_eq!(report["accuracy_by_step"].as_array().unwrap().len(), 60);
    assert!(report["verdict"].as_str().unwrap().ends_with('.'));
    let written: serde_json::Value = serde_json::from_str(&place.text("snn.report.json")).unwrap();
    assert_eq!(&written, report);
    assert!(place.bytes("snn.report.png").starts_with(b"\x89PNG"));

    // More spikes, filtered: as good as the rates.
    let line = "convert-network run/best.safetensors better.safetensors --scale-firing-rates conv1=200 --synapse 0.002";
    let better = place.succeed(&format!("{line} --report about/it --limit 40 --json")).json();
    assert_eq!(place.names("about/it"), ["accuracy.png", "report.json"]);
    assert_eq!(better["report"]["images"], 40);
    let last = |report: &serde_json::Value| number(&report["accuracy_by_step"][29]);
    assert!((last(&better["report"]) - number(&better["report"]["rate_accuracy"])).abs() < 0.08, "{better}");
    assert_says(
        &place.succeed("inspect better.safetensors").stdout,
        &["relu1", "rectified_linear", "rates x 200", "lowpass"],
    );
    let evaluated = place.succeed("evaluate --weights better.safetensors --limit 40 --json").json();
    assert_eq!(number(&evaluated["accuracy"]), last(&better["report"]));

    // A converted network is a network: converted again it stays as it is.
    assert_says(&place.succeed("convert-network better.safetensors again.safetensors").stdout, &["no layer changed"]);
    assert_eq!(place.tensors("again.safetensors"), place.tensors("better.safetensors"));
    assert_eq!(
        place.succeed("evaluate --weights again.safetensors --limit 40 --json").json()["accuracy"],
        evaluated["accuracy"]
    );
}

#[test]
fn scales_are_chosen_from_training_images() {
    let place = trained();
    let line = "convert-network --weights run/best.safetensors snn.safetensors --calibrate 50 --percentile 99 --target-rate 150";
    let said = place.succeed(&format!("{line} --json"));
    assert_says(&said.stderr, &["calibrated on 50 training images", "99th percentile", "150.0 Hz"]);
    let layer = &said.json()["calibration"][0];
    assert_eq!(layer["layer"], "relu1");
    assert!((layer["rate"].as_f64().unwrap() - 150.0).abs() < 1e-6, "{layer}");
    let product = layer["scale"].as_f64().unwrap() * layer["unscaled_rate"].as_f64().unwrap();
    assert!((product - 150.0).abs() < 1e-6, "{layer}");
    assert_says(&place.succeed("inspect snn.safetensors").stdout, &["rates x "]);
}

#[test]
fn what_cannot_be_is_told_and_nothing_is_written() {
    let place = trained();
    for (line, parts) in [
        ("run/best.safetensors out --swap relu3=lif", &["swap of relu3", "relu1 (relu)"][..]),
        ("run/best.safetensors out --scale-firing-rates linear1=3", &["firing rate scale of linear1"]),
        ("run/best.safetensors run/best.safetensors", &["is also the source"]),
        ("nowhere.safetensors out", &["nowhere.safetensors"]),
        ("run/best.safetensors out --calibrate 10 --target-rate=-3", &["target rate = -3"]),
        ("run/best.safetensors out --calibrate 10 --swap relu=lif --target-rate 600", &["fires at most at 500 Hz"]),
    ] {
        assert_says(&place.fail(&format!("convert-network {line}")), parts);
    }
    for (line, parts) in [
        ("out", &["<IN>"][..]),
        ("run/best.safetensors out --weights run/best.safetensors", &["cannot be used with"]),
        ("run/best.safetensors out --scale-firing-rates 0", &["a number above 0"]),
        ("run/best.safetensors out --synapse soon", &["a time of 0 s or more"]),
        ("run/best.safetensors out --swap relu=tanh", &["unknown neuron model \"tanh\"", "spiking-relu"]),
        ("run/best.safetensors out --target-rate 100", &["--calibrate"]),
        ("run/best.safetensors out --calibrate 10 --scale-firing-rates 3", &["cannot be used with"]),
    ] {
        assert_says(&place.refused(2, &format!("convert-network {line}")), parts);
    }
    assert!(!place.path("out").exists());
}
