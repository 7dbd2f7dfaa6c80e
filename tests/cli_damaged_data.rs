//! Data that is missing or damaged: every command that reads it says what is wrong with which file, and what to do.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use std::io::Write;

use command::{Place, assert_says, real_data};
use flate2::{Compression, write::GzEncoder};

const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
/// Of the first file, uncompressed.
const SIZE: usize = 16 + 60_000 * 28 * 28;

const TRAIN: &str = "train --config experiment.toml --dataset mnist --data data --out run";

/// With a folder `data/mnist` whose first file is `content`. (It is the first to be read.)
fn with_first_file(name: &str, content: &[u8]) -> Place {
    let place = Place::new();
    for file in FILES.iter().skip(1) {
        place.write(&format!("data/mnist/{file}"), "");
    }
    place.write(&format!("data/mnist/{name}"), content);
    place
}

/// What training says of such a folder; nothing is left behind.
fn refused(name: &str, content: &[u8]) -> String {
    let place = with_first_file(name, content);
    let said = place.fail(TRAIN);
    assert_says(&said, &[&format!("data/mnist/{name}: "), "delete the file", "tch-spiking data fetch mnist"]);
    assert!(!place.path("run").exists());
    said
}

fn idx(words: [u32; 4], length: usize) -> Vec<u8> {
    let mut content: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    content.resize(length, 0);
    content
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn truncated_and_empty_files() {
    let said = refused(FILES[0], &idx([0x803, 60_000, 28, 28], 1000));
    assert_says(&said, &["expected 47040016 bytes uncompressed, found 1000"]);
    assert_says(&refused(FILES[0], &[]), &["expected 47040016 bytes uncompressed, found 0"]);
    let whole = gzip(&idx([0x803, 60_000, 28, 28], 100_000));
    let said = refused(&format!("{}.gz", FILES[0]), &whole[..whole.len() / 2]);
    assert_says(&said, &["damaged: it ends after", "of 47040016 bytes"]);
}

#[test]
fn corrupted_files() {
    let mut stream = gzip(&idx([0x803, 60_000, 28, 28], 100_000));
    let checksum = stream.len() - 8;
    stream[checksum] ^= 1;
    assert_says(&refused(&format!("{}.gz", FILES[0]), &stream), &["damaged", "corrupt"]);
    // All that can be seen is right, but not a single pixel is.
    let said = refused(&format!("{}.gz", FILES[0]), &gzip(&idx([0x803, 60_000, 28, 28], SIZE)));
    assert_says(&said, &["not the published file: expected SHA-256 ba891046", "found "]);
}

#[test]
fn headers_that_are_wrong() {
    let said = refused(FILES[0], &idx([0x803, u32::MAX, 28, 28], 1000));
    assert_says(&said, &["wrong count: expected 60000 items, its header says 4294967295"]);
    let said = refused(FILES[0], &idx([0x803, 59_999, 28, 28], SIZE - 784));
    assert_says(&said, &["wrong count: expected 60000 items, its header says 59999"]);
    let said = refused(FILES[0], &idx([0x803, 60_000, 28, u32::MAX], 1000));
    assert_says(&said, &["wrong image size: expected 28 rows and columns, its header says 4294967295"]);
    // Labels where images should be.
    let said = refused(FILES[0], &idx([0x801, 60_000, 0, 0], 60_008));
    assert_says(&said, &["expected it to start with 0x00000803, found 0x00000801"]);
    for foreign in ["<!DOCTYPE html><title>404</title>", "version https://git-lfs.github.com/spec/v1"] {
        assert_says(&refused(FILES[0], foreign.as_bytes()), &["not an IDX file", "0x00000803"]);
    }
}

#[test]
fn files_that_are_larger_than_they_should_be() {
    let bomb = gzip(&idx([0x803, 60_000, 28, 28], 2 * SIZE));
    assert!(bomb.len() < SIZE / 100);
    let said = refused(&format!("{}.gz", FILES[0]), &bomb);
    assert_says(&said, &["expected 47040016 bytes uncompressed, found more"]);
}

#[test]
fn folders_without_the_files() {
    let place = Place::new();
    place.write("data/readme.txt", "");
    assert_says(&place.fail(TRAIN), &["MNIST is not in data", FILES[0], "data fetch mnist", "--data"]);
    let said = place.fail(&TRAIN.replace("--data data", "--data nowhere"));
    assert_says(&said, &["MNIST is not in nowhere"]);
    place.write(&format!("data/mnist/{}", FILES[0]), "");
    let said = place.fail(TRAIN);
    assert_says(&said, &["data/mnist contains only a part of mnist", FILES[1], FILES[2], FILES[3]]);
    assert!(!said.contains(FILES[0]), "{said}");
    assert_says(
        &place.fail(&TRAIN.replace("mnist", "fashion")),
        &["Fashion-MNIST is not in data", "data fetch fashion"],
    );
}

#[test]
fn every_command_that_reads_data_refuses_damaged_files() {
    let place = Place::trained();
    for file in FILES {
        place.write(&format!("data/mnist/{file}"), "");
    }
    for command in
        ["evaluate --weights run/best.safetensors", "simulate --weights run/best.safetensors", "data preview"]
    {
        for dataset in ["mnist", "auto"] {
            let said = place.fail(&format!("{command} --dataset {dataset} --data data"));
            assert_says(&said, &["data/mnist/train-images-idx3-ubyte: wrong size"]);
        }
    }
    assert_says(&place.fail(&TRAIN.replace("--out run", "--out other")), &["wrong size"]);
    let verify = place.command("data verify --data data --json").output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&verify.stdout).unwrap();
    assert_eq!((verify.status.code(), &report["ok"]), (Some(1), &false.into()));
    assert_says(&String::from_utf8(verify.stderr).unwrap(), &["error: 4 damaged file(s)"]);
}

#[test]
fn more_images_than_there_are() {
    let Some(real) = real_data() else { return };
    let place = Place::new();
    let line = format!("train --config experiment.toml --dataset mnist --data {} --set", real.display());
    for (setting, expected) in [
        ("data.train_images=59941", "only 59940 images are available"),
        ("data.validation_images=60001", "only 60000"),
        ("data.test_images=10001", "only 10000"),
    ] {
        assert_says(&place.fail(&format!("{line} {setting}")), &[setting.split('=').next().unwrap(), expected]);
    }
}

#[test]
fn a_changed_byte_in_any_of_the_real_files() {
    let Some(real) = real_data() else { return };
    for name in FILES {
        let place = Place::new();
        for file in std::fs::read_dir(real.join("mnist")).unwrap() {
            let file = file.unwrap();
            let mut content = std::fs::read(file.path()).unwrap();
            let file_name = file.file_name().into_string().unwrap();
            if file_name.starts_with(name) {
                let middle = content.len() / 2;
                content[middle] ^= 1;
            }
            place.write(&format!("data/mnist/{file_name}"), content);
        }
        let said = place.fail(TRAIN);
        assert_says(&said, &[&format!("data/mnist/{name}"), "tch-spiking data fetch mnist"]);
    }
}

#[test]
fn the_files_of_another_data_set() {
    let Some(real) = real_data().map(|folder| folder.join("mnist")) else { return };
    let place = Place::new();
    let said = place.fail(&format!("train --config experiment.toml --dataset fashion --data {}", real.display()));
    assert_says(&said, &["which is the file from MNIST", "choose MNIST"]);
}
