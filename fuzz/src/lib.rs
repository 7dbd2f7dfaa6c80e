//! What the fuzz targets share.

use std::io::{Cursor, Write};

use tch_spiking::weights;

/// Reads `content` as a weights file, which may fail but not panic, and looks at what it gave.
pub fn read(content: &[u8]) {
    match weights::read_from(Cursor::new(content)) {
        Ok(file) => {
            assert_eq!(file.order.len(), file.tensors.len());
            for tensor in file.tensors.values().filter(|tensor| tensor.numel() <= content.len().max(1 << 16)) {
                // Every element is within its storage.
                let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
                tensor.copy_data_u8(&mut bytes, tensor.numel());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An archive of `entries` with good checksums, which a fuzzer hardly ever finds.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    for (name, content) in entries {
        let (mut entry, config) = archive.new_file(*name).start().expect("a name");
        let mut writer = config.wrap(&mut entry);
        writer.write_all(content).expect("memory");
        let (_, sizes) = writer.finish().expect("memory");
        entry.finish(sizes).expect("memory");
    }
    archive.finish().expect("memory")
}
