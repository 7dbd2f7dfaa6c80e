//! Writes into the program where libtorch is, so that it starts without `LD_LIBRARY_PATH`.

fn main() -> Result<(), std::env::VarError> {
    // The build script of tch-spiking, a direct dependency, says it.
    let libtorch = std::env::var("DEP_TCH_SPIKING_LIBTORCH")?;
    for argument in ["-Xlinker", "-rpath", "-Xlinker", &libtorch] {
        println!("cargo::rustc-link-arg={argument}");
    }
    Ok(())
}
