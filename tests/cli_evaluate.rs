//! `evaluate`, `simulate`, `inspect` and `doctor`, run on a network that was just trained.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use command::{Place, assert_says};
use serde_json::Value;

const EVALUATE: &str = "evaluate --weights run/best.safetensors --limit 40";
const SIMULATE: &str = "simulate --weights run/best.safetensors";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn evaluation_gives_accuracies_activity_and_times() {
    let place = Place::trained();
    let said = place.succeed(&format!("{EVALUATE} --json"));
    let report = said.json();
    assert_eq!((&report["dataset"], &report["images"], &report["steps"]), (&"digits".into(), &40.into(), &10.into()));
    let by_step: Vec<f64> = report["accuracy_by_step"].as_array().unwrap().iter().map(number).collect();
    assert_eq!((by_step.len(), by_step[9]), (10, number(&report["accuracy"])));
    for accuracy in by_step.iter().copied().chain([number(&report["rate_accuracy"])]) {
        let right = accuracy * 40.0;
        assert!((0.0..=40.0).contains(&right) && (right - right.round()).abs() < 1e-9, "{accuracy}");
    }
    let seconds = ["rate_seconds", "spiking_seconds", "seconds"].map(|key| number(&report[key]));
    assert!(seconds[0] > 0.0 && seconds[1] > 0.0 && seconds[2] >= seconds[0] + seconds[1], "{seconds:?}");

    let layers = report["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &layers[0]["name"], &layers[0]["neurons"]), (1, &"lif1".into(), &256.into()));
    let of_layer = |key: &str| number(&layers[0][key]);
    // 10 steps of a millisecond; a LIF neuron rests 2 ms after each spike.
    assert!(
        of_layer("mean_rate") > 0.0 && of_layer("mean_rate") < of_layer("max_rate") && of_layer("max_rate") <= 500.0
    );
    for key in ["silent_fraction", "dead_fraction", "saturated_fraction"] {
        assert!((0.0..=1.0).contains(&of_layer(key)), "{key}");
    }
    let spikes = of_layer("mean_rate") * 256.0 * 0.01;
    assert!((number(&report["spikes_per_image"]) - spikes).abs() < 1e-6 * spikes);

    // The same for people; and nothing but the result where nothing else is wanted.
    let said = place.succeed(&format!("{EVALUATE} -q"));
    assert_says(&said.stdout, &["as rates", "as spikes", "after 10 steps of 1 ms", "lif1", "spikes per image"]);
    assert_eq!(said.stderr, "");
}

#[test]
fn evaluation_agrees_with_the_test_at_the_end_of_training() {
    let place = Place::new();
    // The built-in digits of `evaluate` are those of seed 0.
    place.succeed("train --config experiment.toml --out run --seed 0");
    let summary: Value = serde_json::from_slice(&place.bytes("run/summary.json")).unwrap();
    let report = place.succeed("evaluate --weights run/last.safetensors --limit 50 --json").json();
    assert_eq!(report["rate_accuracy"], summary["test_rate_accuracy"]);
    assert_eq!(report["accuracy_by_step"], summary["test_accuracy_by_step"]);
}

#[test]
fn steps_images_and_memory_can_be_chosen() {
    let place = Place::trained();
    let longer = place.succeed(&format!("{EVALUATE} --steps 25 --json")).json();
    let by_step = |report: &Value| report["accuracy_by_step"].as_array().unwrap().clone();
    let usual = place.succeed(&format!("{EVALUATE} --json")).json();
    assert_eq!((by_step(&longer).len(), &by_step(&longer)[..10]), (25, &by_step(&usual)[..]));
    assert_eq!(by_step(&place.succeed(&format!("{EVALUATE} --tile 1 --json")).json()), by_step(&usual));
    let one = place.succeed("evaluate --weights run/best.safetensors --limit 1 --steps 1 --json").json();
    assert_eq!((&one["images"], by_step(&one).len()), (&1.into(), 1));
}

/// Width and height of a PNG whose every pixel can be read.
fn png_size(content: &[u8]) -> (u32, u32) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(content)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    (reader.info().width, reader.info().height)
}

fn assert_picture(place: &Place, stem: &str, title: &str) {
    let (width, height) = png_size(&place.bytes(&format!("{stem}.png")));
    assert!(width >= 400 && height >= 200, "{width}x{height}");
    let svg = place.text(&format!("{stem}.svg"));
    let tree = resvg::usvg::Tree::from_str(&svg, &Default::default()).unwrap();
    assert!(tree.size().width() > 0.0 && tree.root().has_children());
    assert!(svg.contains(title) && svg.contains("lif1"), "{title}");
}

#[test]
fn simulation_draws_each_image_as_png_and_svg() {
    let place = Place::trained();
    let report = place.succeed(&format!("{SIMULATE} --index 0 3 --steps 12 --out pictures --json")).json();
    assert_eq!(place.names("pictures"), ["spikes-0.png", "spikes-0.svg", "spikes-3.png", "spikes-3.svg"]);
    let images = report["images"].as_array().unwrap();
    assert_eq!((images.len(), &report["steps"]), (2, &12.into()));
    for (image, index) in images.iter().zip([0, 3]) {
        assert_eq!(image["files"][0], format!("pictures/spikes-{index}.png"));
        let output: Vec<f64> = image["output"].as_array().unwrap().iter().map(number).collect();
        let highest = output.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(output[image["prediction"].as_u64().unwrap() as usize], highest);
        assert!(image["label"].as_u64().unwrap() < 10 && number(&image["layers"][0]["mean_rate"]) >= 0.0);
        assert_picture(&place, &format!("pictures/spikes-{index}"), &format!("Test image {index}"));
    }
    let said = place.succeed(SIMULATE);
    assert_says(&said.stdout, &["Test image 0: predicted ", "spikes-0.png"]);
    assert_picture(&place, "spikes-0", "Test image 0");
}

#[test]
fn simulation_reads_a_picture_of_the_users_own() {
    let place = Place::trained();
    // A black bar on white paper, and the same in white on black.
    let paper = |ink: u8, ground: u8| {
        let mut content = Vec::new();
        let mut encoder = png::Encoder::new(&mut content, 60, 90);
        encoder.set_color(png::ColorType::Grayscale);
        let pixel = |index: usize| if (25..35).contains(&(index % 60)) { ink } else { ground };
        let pixels: Vec<u8> = (0..60 * 90).map(pixel).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        content
    };
    place.write("paper.png", paper(0, 255));
    place.write("board.png", paper(255, 0));
    let output =
        |options: &str| place.succeed(&format!("{SIMULATE} --json --image {options}")).json()["images"][0].clone();
    let (inverted, board, plain) = (output("paper.png --invert"), output("board.png"), output("paper.png --out plain"));
    assert_eq!(inverted["output"], board["output"]);
    assert_ne!(inverted["output"], plain["output"]);
    assert!(inverted["label"].is_null());
    assert_picture(&place, "spikes-paper", "paper.png");
    // Beside the user's picture, not over it.
    assert_eq!(place.bytes("paper.png"), paper(0, 255));
    assert_eq!(place.bytes("board.png"), paper(255, 0));
}

#[test]
fn inspect_shows_a_run_and_its_files() {
    let place = Place::trained();
    let report = place.succeed("inspect run --json").json();
    assert_eq!((&report["format"], &report["neurons"]), (&"checkpoint".into(), &256.into()));
    assert_eq!(report["parameters"], 4 * 25 + 4 + 256 + 2560 + 10);
    let names: Vec<&str> =
        report["layers"].as_array().unwrap().iter().filter_map(|layer| layer["name"].as_str()).collect();
    assert_eq!(names, ["conv1", "lif1", "dropout1", "flatten1", "linear1", "lowpass1"]);
    let metadata = ["dataset", "seed", "epochs"].map(|key| report["metadata"][key].as_str().unwrap());
    assert_eq!(metadata, ["digits", "3", "2"]);
    for file in ["run/best.safetensors", "run/weights.safetensors", "run/config.toml", "experiment.toml"] {
        assert_says(&place.succeed(&format!("inspect {file}")).stdout, &["conv1", "4x8x8", "2,930", "tau_rc 0.02"]);
    }
}

#[test]
fn doctor_reports_versions_threads_and_data() {
    let place = Place::new();
    let report = place.succeed("doctor --json --data data").json();
    assert_eq!(report["tch_spiking"], env!("CARGO_PKG_VERSION"));
    assert!(report["libtorch"]["version"].as_str().unwrap().starts_with("2.11"), "{}", report["libtorch"]);
    assert!(report["libtorch"]["folder"].is_string() && report["processor"]["threads"] == 1);
    assert!(report["device"].is_string() && report["data"]["looked"][0] == "data");
    let said = place.succeed("doctor --device cpu");
    assert_says(&said.stdout, &["libtorch     2.11", "threads      1 of", "CUDA", "device       cpu", "pretrained"]);
    assert_eq!(said.stderr, "");
}
