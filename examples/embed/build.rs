//! Embeds libtorch's location into the program, so that it starts without `LD_LIBRARY_PATH`.

fn main() -> Result<(), std::env::VarError> {
    // Reported by the build script of tch-spiking, a direct dependency.
    let libtorch = std::env::var("DEP_TCH_SPIKING_LIBTORCH")?;
    for argument in ["-Xlinker", "-rpath", "-Xlinker", &libtorch] {
        println!("cargo::rustc-link-arg={argument}");
    }
    Ok(())
}
