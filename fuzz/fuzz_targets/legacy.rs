//! Files of `torch.save` before version 1.6, after their magic number.
#![no_main]

use libfuzzer_sys::fuzz_target;

const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

fuzz_target!(|content: &[u8]| tch_spiking_fuzz::read(&[MAGIC, content].concat()));
