//! Helpers shared by the examples.

#[cfg(feature = "figures")]
use tch_spiking::report::Svg;

/// Returns whether to finish within a second or two: the environment variable `TCH_SPIKING_QUICK` is set.
#[allow(dead_code)] // Not every example has two sizes.
pub fn quick() -> bool {
    std::env::var_os("TCH_SPIKING_QUICK").is_some()
}

/// Writes `name.svg` and `name.png` to the folder given as first argument, or `target/examples-output`.
#[cfg(feature = "figures")]
#[allow(dead_code)] // Not every example draws.
pub fn save(figure: &Svg, name: &str) -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| "target/examples-output".into(), std::path::PathBuf::from);
    std::fs::create_dir_all(&folder).map_err(|error| tch_spiking::Error::io("create the folder", &folder, error))?;
    for extension in ["svg", "png"] {
        let path = folder.join(name).with_extension(extension);
        figure.save(&path)?;
        println!("see {}", path.display());
    }
    Ok(())
}
