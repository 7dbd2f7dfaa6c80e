//! Compiles the C++ of `src/native/` and tells the linker where libtorch is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

const CPP: [&str; 5] = [
    "src/native/accelerator.cpp",
    "src/native/allocator.cpp",
    "src/native/autograd.cpp",
    "src/native/parallel.cpp",
    "src/native/signals.cpp",
];

fn main() {
    for file in CPP {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DOCS_RS");
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    let lib = match env::var_os("DEP_TCH_LIBTORCH_LIB") {
        Some(lib) => PathBuf::from(lib),
        None => fail("torch-sys did not report the location of libtorch"),
    };
    if !lib.join("libtorch_cpu.so").exists() && !lib.join("libtorch_cpu.dylib").exists() {
        fail(&format!("there is no libtorch_cpu in {}", lib.display()));
    }
    let include = match lib.parent() {
        Some(root) => root.join("include"),
        None => fail(&format!("{} has no parent folder", lib.display())),
    };
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .flag_if_supported("-fopenmp")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .files(CPP)
        .compile("tch_spiking_native");
    println!("cargo:rustc-link-search=native={}", lib.display());
    for name in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib=dylib={name}");
    }
    // Not `-Wl,-rpath,..`: a comma in the path would split it.
    for argument in ["-Xlinker", "-rpath", "-Xlinker"] {
        println!("cargo:rustc-link-arg={argument}");
    }
    println!("cargo:rustc-link-arg={}", lib.display());
    link_for_doctests(&lib);
    // DEP_TCH_SPIKING_LIBTORCH in the build scripts of packages that depend on this one.
    println!("cargo:libtorch={}", lib.display());
    println!("cargo:rustc-env=TCH_SPIKING_LIBTORCH_LIB={}", lib.display());
}

/// Doctests get no link arguments, but cargo passes search paths inside the target folder, so a link there serves them.
#[cfg(unix)]
fn link_for_doctests(lib: &Path) {
    let Some(out) = env::var_os("OUT_DIR") else { return };
    let link = PathBuf::from(out).join("libtorch");
    let _ = fs::remove_file(&link);
    if let Err(error) = std::os::unix::fs::symlink(lib, &link) {
        fail(&format!("{} cannot be linked to it: {error}", link.display()));
    }
    println!("cargo:rustc-link-search=native={}", link.display());
}

#[cfg(not(unix))]
fn link_for_doctests(_lib: &Path) {}

fn fail(cause: &str) -> ! {
    eprintln!("tch-spiking needs libtorch 2.11, but {cause}.");
    eprintln!("Run scripts/setup.sh once, or set LIBTORCH to a libtorch 2.11 folder.");
    std::process::exit(1)
}
