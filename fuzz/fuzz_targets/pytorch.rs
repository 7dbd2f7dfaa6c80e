//! The pickle in an archive of `torch.save`, with the storages of `tests/fixtures/shared.pt`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|pickle: &[u8]| {
    let entries = [("a/data.pkl", pickle), ("a/data/0", [1; 96].as_slice()), ("a/data/1", [1; 48].as_slice())];
    tch_spiking_fuzz::read(&tch_spiking_fuzz::zip(&entries));
});
