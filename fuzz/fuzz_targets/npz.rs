//! An array in an `.npz` archive.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|array: &[u8]| tch_spiking_fuzz::read(&tch_spiking_fuzz::zip(&[("a.npy", array)])));
