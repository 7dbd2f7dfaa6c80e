//! The pickle in a TorchScript archive, with the storages of `tests/fixtures/scripted.pt`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|pickle: &[u8]| {
    let storage = [1; 24];
    let entries = [
        ("a/data/0", storage.as_slice()),
        ("a/data/1", &storage[..8]),
        ("a/data/2", &storage[..8]),
        ("a/data/3", &storage[..8]),
        ("a/data.pkl", pickle),
        ("a/constants.pkl", &[]),
    ];
    tch_spiking_fuzz::read(&tch_spiking_fuzz::zip(&entries));
});
