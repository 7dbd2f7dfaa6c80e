//! Zip archives of every sort as they are.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| tch_spiking_fuzz::read(content));
