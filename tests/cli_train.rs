//! `train`, run: what it leaves behind, what it says, and what decides the result.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use command::{Place, assert_says, real_data};
use serde_json::json;

const FILES: [&str; 8] = [
    "best.safetensors",
    "config.toml",
    "last.safetensors",
    "learning_curve.png",
    "learning_curve.svg",
    "metrics.jsonl",
    "summary.json",
    "weights.safetensors",
];

const METRICS: [&str; 10] = [
    "epoch",
    "loss",
    "train_accuracy",
    "validation_accuracy",
    "spiking_accuracy",
    "spiking_steps",
    "spikes_per_image",
    "learning_rate",
    "images_per_second",
    "seconds",
];

#[test]
fn a_run_leaves_config_metrics_checkpoints_curve_and_summary() {
    let place = Place::new();
    let said = place.succeed("train --config experiment.toml --out run --json");
    assert_eq!(place.names("run"), FILES);

    let metrics = place.metrics("run");
    assert_eq!(metrics.len(), 2);
    for (epoch, metrics) in (1..).zip(&metrics) {
        let metrics = metrics.as_object().unwrap();
        assert_eq!(metrics.keys().collect::<Vec<_>>(), METRICS);
        assert_eq!(metrics["epoch"], epoch);
        let number = |key: &str| metrics[key].as_f64().unwrap();
        assert!(number("loss") > 0.0 && number("images_per_second") > 0.0 && number("seconds") > 0.0);
        for (key, images) in [("train_accuracy", 410.0), ("validation_accuracy", 60.0), ("spiking_accuracy", 40.0)] {
            let right = number(key) * images;
            assert!((0.0..=images).contains(&right) && (right - right.round()).abs() < 1e-9, "{key} of {images}");
        }
    }

    let summary: serde_json::Value = serde_json::from_slice(&place.bytes("run/summary.json")).unwrap();
    assert_eq!(summary["dataset"], json!({ "name": "digits", "seed": 3 }));
    for (key, expected) in [("epochs", 2), ("seed", 3), ("train_images", 410), ("test_images", 50)] {
        assert_eq!(summary[key], expected, "{key}");
    }
    assert_eq!(summary["test_accuracy_by_step"].as_array().unwrap().len(), 10);
    assert_eq!(summary["test_accuracy_by_step"][9], summary["test_spiking_accuracy"]);

    // The JSON object is the summary, with the run and its metrics.
    let result = said.json();
    assert_eq!((&result["run"], &result["metrics"]), (&json!("run"), &json!(metrics)));
    assert!(summary.as_object().unwrap().iter().all(|(key, value)| result[key] == *value));

    assert!(place.bytes("run/learning_curve.png").starts_with(b"\x89PNG\r\n\x1a\n"));
    let (last, best) = (place.tensors("run/last.safetensors"), place.tensors("run/best.safetensors"));
    assert_eq!(
        best.keys().collect::<Vec<_>>(),
        ["conv1.bias", "conv1.weight", "lif1.bias", "linear1.bias", "linear1.weight"]
    );
    // A checkpoint holds the optimiser's two moments of each parameter too.
    assert_eq!(last.len(), 3 * best.len());
}

#[test]
fn the_config_of_a_run_is_resolved_and_reproduces_it() {
    let place = Place::new();
    place.succeed("train --config experiment.toml --out run --seed 9 --epochs 1 --set training.learning_rate=0.002");
    let config = place.text("run/config.toml");
    let spelt_out = ["seed = 9", "epochs = 1", "learning_rate = 0.002", "beta1 = 0.9", "tau_rc = 0.02", "dt = 0.001"];
    assert_says(&config, &spelt_out);
    place.succeed("train --config run/config.toml --out again");
    assert_eq!(place.text("again/config.toml"), config);
    assert_eq!(place.bytes("again/best.safetensors"), place.bytes("run/best.safetensors"));
}

#[test]
fn the_best_weights_are_those_of_the_best_validation_accuracy() {
    let place = Place::new();
    place.succeed("train --config experiment.toml --out run --epochs 6 --set training.learning_rate=0.05");
    let accuracies: Vec<f64> =
        place.metrics("run").iter().map(|metrics| metrics["validation_accuracy"].as_f64().unwrap()).collect();
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let epoch = 1 + accuracies.iter().position(|&accuracy| accuracy == best).unwrap();
    let report = place.succeed("inspect run/best.safetensors --json").json();
    assert_eq!(report["metadata"]["epochs"], epoch.to_string());
    assert_eq!(report["metadata"]["dataset"], "digits");
    place.succeed(&format!(
        "train --config experiment.toml --out short --epochs {epoch} --set training.learning_rate=0.05"
    ));
    assert_eq!(place.tensors("short/best.safetensors"), place.tensors("run/best.safetensors"));
}

#[test]
fn results_go_to_stdout_and_progress_to_stderr() {
    let place = Place::new();
    let said = place.succeed("train --config experiment.toml --out people");
    let starts =
        |text: &str| text.lines().filter_map(|line| line.split_whitespace().next().map(String::from)).collect();
    let (results, progress): (Vec<_>, Vec<_>) = (starts(&said.stdout), starts(&said.stderr));
    assert_eq!(results, ["test", "saved"], "{}", said.stdout);
    assert_eq!(
        progress,
        ["data", "network", "device", "run", "epoch", "spikes", "epoch", "spikes", "testing"],
        "{}",
        said.stderr
    );
    // Not a terminal: plain lines.
    assert!(!said.stderr.contains(['\u{1b}', '\r']), "{:?}", said.stderr);

    let said = place.succeed("train --config experiment.toml --out machines --json");
    assert_says(&said.stderr, &["as rates", "saved     machines"]);
    let said = place.succeed("train --config experiment.toml --out quiet -q");
    assert_eq!((said.stdout.lines().count(), said.stderr.as_str()), (2, ""));
    let said = place.succeed("train --config experiment.toml --out both -q --json");
    said.json();
    assert_eq!(said.stderr.lines().count(), 2, "{}", said.stderr);
}

#[test]
fn runs_without_a_name_are_numbered() {
    let place = Place::new();
    for _ in 0..2 {
        place.succeed("train --config experiment.toml --epochs 1 -q");
    }
    place.write("runs/4/note.txt", "");
    assert_eq!(place.names("runs"), ["1", "2", "4"]);
    for expected in ["runs/3", "runs/5"] {
        let result = place.succeed("train --config experiment.toml --epochs 1 --json").json();
        assert_eq!(result["run"], expected);
    }
    assert_eq!(place.names("runs/4"), ["note.txt"]);
}

#[test]
fn the_seed_decides_the_weights_bit_for_bit() {
    let place = Place::new();
    for (name, seed) in [("one", 1), ("same", 1), ("other", 2)] {
        place.succeed(&format!("train --config experiment.toml --out {name} --seed {seed}"));
    }
    assert_eq!(place.tensors("one/last.safetensors"), place.tensors("same/last.safetensors"));
    assert_eq!(place.timeless_metrics("one"), place.timeless_metrics("same"));
    let (one, other) = (place.tensors("one/last.safetensors"), place.tensors("other/last.safetensors"));
    assert!(one.keys().eq(other.keys()) && one.iter().all(|(name, tensor)| *tensor != other[name]));
}

#[test]
fn any_batch_size_sees_every_image_once() {
    let place = Place::new();
    for (batch, images) in [(100, 410), (1, 13), (7, 50), (1000, 50), (50, 50)] {
        let line = format!(
            "train --config experiment.toml --out batch-{batch}-{images} --epochs 1 --json \
             --set training.batch_size={batch} --set data.train_images={images}"
        );
        let result = place.succeed(&line).json();
        assert_eq!(result["train_images"], images);
        let right = result["metrics"][0]["train_accuracy"].as_f64().unwrap() * f64::from(images);
        assert!((right - right.round()).abs() < 1e-9, "{right} of {images}, batches of {batch}");
    }
}

#[test]
fn any_key_can_be_set_and_later_settings_win() {
    let place = Place::new();
    place.succeed(
        "train --config experiment.toml --out run --epochs 5 --set training.epochs=1 --set data.train_images=60 \
         --set network.layers.0.out_channels=2 --set network.layers.2.p=0 --set simulation.sample=0 \
         --set training.optimizer={type=\"sgd\",momentum=0.5} --set training.schedule={type=\"cosine\"} \
         --set data.validation_images=0",
    );
    assert_says(&place.text("run/config.toml"), &["out_channels = 2", "momentum = 0.5", "type = \"cosine\""]);
    let metrics = place.metrics("run");
    assert_eq!(metrics.len(), 1);
    assert!(metrics[0]["validation_accuracy"].is_null() && metrics[0]["spiking_accuracy"].is_null());
    assert_eq!(metrics[0]["learning_rate"], 0.0);
    assert_eq!(place.tensors("run/best.safetensors")["conv1.weight"].0, [2, 1, 5, 5]);
}

#[test]
fn mnist_is_used_where_it_is() {
    let Some(data) = real_data() else { return };
    let place = Place::new();
    let line = "train --config experiment.toml --epochs 1 --json --dataset";
    let mut command = place.command(&format!("{line} auto --out found"));
    let output = command.env("TCH_SPIKING_DATA", &data).output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["dataset"], json!({ "name": "mnist", "folder": data.join("mnist") }));
    // What was used, not what was asked for.
    assert_says(&place.text("found/config.toml"), &["dataset = \"mnist\""]);
    let result = place.succeed(&format!("{line} fashion --out fashion --data {}", data.display())).json();
    assert_eq!(result["dataset"]["name"], "fashion");
    assert_eq!(place.succeed("inspect fashion --json").json()["metadata"]["dataset"], "fashion");
}
