//! Network files, good and damaged, without libtorch.

use std::path::PathBuf;

use proptest::prelude::*;
use tch_spiking_core::EventNetwork;
use tch_spiking_core::event::EventError;
use tch_spiking_core::file::{FileError, NetworkFile};

/// The pretrained network's file, if it is there (a published crate comes without it).
fn pretrained() -> Option<(PathBuf, Vec<u8>)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pretrained/mnist-lif/weights.safetensors");
    match std::fs::read(&path) {
        Ok(bytes) => Some((path, bytes)),
        Err(error) => {
            eprintln!("skipped: pretrained/mnist-lif/weights.safetensors: {error}");
            None
        }
    }
}

/// A digit of our own: a thick vertical bar, a one.
fn bar() -> Vec<f32> {
    (0..784).map(|i| if (4..24).contains(&(i / 28)) && (13..16).contains(&(i % 28)) { 255.0 } else { 0.0 }).collect()
}

#[test]
fn the_pretrained_network_answers_from_its_file_and_from_memory() {
    let Some((path, bytes)) = pretrained() else { return };
    let network = EventNetwork::<f32>::load(&path).unwrap();
    assert_eq!((network.graph().input.as_slice(), network.graph().output_shape()), (&[1, 28, 28][..], &[10][..]));
    let response = network.run(&bar(), 30).unwrap();
    assert_eq!((response.steps(), response.prediction()), (30, 1));
    assert_eq!(EventNetwork::<f32>::from_bytes(&bytes).unwrap().run(&bar(), 30).unwrap(), response);
    let precise = EventNetwork::<f64>::from_bytes(&bytes).unwrap();
    let precise = precise.run(&bar().iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 30).unwrap();
    for (ours, theirs) in response.last().iter().zip(precise.last()) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-3, "{ours} {theirs}");
    }
    let early = network.run_until(&bar(), 30, 0.5).unwrap();
    assert!(early.steps() < 30 && early.prediction() == 1);
}

#[test]
fn what_is_no_network_file_is_said() {
    let missing = EventNetwork::<f32>::load("no such file").unwrap_err();
    assert!(matches!(missing, EventError::File(FileError::Io { .. })), "{missing}");
    assert!(missing.to_string().contains("no such file"));
    for bytes in [&b""[..], b"{}", &[0; 8], &[255; 64], &2_u64.to_le_bytes(), b"\x02\0\0\0\0\0\0\0{}"] {
        let error = EventNetwork::<f32>::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, EventError::File(_)), "{error}");
    }
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let Some((_, bytes)) = pretrained() else { return };
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let lengths = (0..header + 100).chain((header + 100..bytes.len()).step_by(997)).chain([bytes.len() - 1]);
    for length in lengths {
        assert!(NetworkFile::from_bytes(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

/// A small network's file: every byte of it matters.
fn small() -> Vec<u8> {
    let spec = r#"input = [1, 4, 4]
        layers = [
            { type = "conv2d", out_channels = 2, kernel = 3 },
            { type = "lif" },
            { type = "avg_pool", kernel = 2 },
            { type = "flatten" },
            { type = "linear", out_features = 2 },
            { type = "lowpass", tau = 0.01 },
        ]"#;
    let tensors = [("conv1.weight", vec![2, 1, 3, 3]), ("conv1.bias", vec![2]), ("lif1.bias", vec![2, 2, 2])];
    let tensors = tensors.into_iter().chain([("linear1.weight", vec![2, 2]), ("linear1.bias", vec![2])]);
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        let count = shape.iter().product::<usize>();
        data.extend((0..count).flat_map(|i| (i as f32 * 0.3 - 0.5).to_le_bytes()));
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name.to_string(), entry);
    }
    let facts = serde_json::json!({ "format": "tch-spiking", "format_version": "1", "spec": spec, "seed": "3" });
    header.insert("__metadata__".to_string(), facts);
    let header = serde_json::to_string(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Whatever a file holds, reading and running it ends, if not well, then in an error.
fn try_out(bytes: &[u8]) {
    if let Ok(network) = EventNetwork::<f32>::from_bytes(bytes) {
        let size = network.graph().input.iter().product::<i64>();
        // A flipped digit may make a large network; it need not be run.
        if size < 1000 {
            let _ = network.run(&vec![1.0; size as usize], 2);
        }
    }
}

#[test]
fn the_small_file_is_good() {
    let network = EventNetwork::<f32>::from_bytes(&small()).unwrap();
    assert!(network.run(&[100.0; 16], 20).unwrap().last().iter().all(|value| value.is_finite()));
}

#[test]
fn any_byte_that_is_another_does_no_harm() {
    let good = small();
    for position in 0..good.len() {
        for flip in [1, 2, 4, 16, 32, 128, 255] {
            let mut bytes = good.clone();
            bytes[position] ^= flip;
            try_out(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn many_bytes_that_are_others_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
        length in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let mut bytes = small();
        for (position, byte) in changes {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        if truncate {
            bytes.truncate(length.index(bytes.len()));
        }
        try_out(&bytes);
    }

    #[test]
    fn digits_that_are_others_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..6)
    ) {
        let mut bytes = small();
        let digits: Vec<usize> = (8..bytes.len()).filter(|&position| bytes[position].is_ascii_digit()).collect();
        for (digit, byte) in changes {
            bytes[digits[digit.index(digits.len())]] = byte;
        }
        try_out(&bytes);
    }
}
