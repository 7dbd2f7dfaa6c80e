#!/usr/bin/env bash
# Runs the checks of CI, cheapest first: all, or only the given parts.
#
#   scripts/check.sh [format] [scripts] [lint] [features] [imports] [docs] [examples] [embed] [doctests] [tests]
#
# Everything uses the release profile, so that nothing is compiled twice.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

check_format() {
    cargo fmt --check
    rustfmt --check --edition 2024 examples/embed/build.rs examples/embed/src/main.rs
}

check_scripts() {
    local -a bash_scripts=(.ci/run scripts/*.sh) python_scripts
    local script
    for script in "${bash_scripts[@]}"; do
        bash -n "$script"
    done
    if command -v shellcheck >/dev/null; then
        shellcheck "${bash_scripts[@]}"
    fi
    shopt -s nullglob
    python_scripts=(scripts/*.py)
    shopt -u nullglob
    if [[ ${#python_scripts[@]} != 0 ]] && command -v python3 >/dev/null; then
        python3 -c 'import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]' "${python_scripts[@]}"
    fi
}

check_lint() { cargo clippy --locked --release --all-targets -- -D warnings; }

# Builds the library without command line, figures and downloads, as embedding programs do.
check_features() {
    cargo clippy --locked --release --no-default-features --lib --tests -- -D warnings
    cargo test --locked --release --no-default-features --lib --test network --test convert --test simulation
}

# Checks that the folders of src/ only import from lower ones.
check_imports() { cargo test --locked --release --test imports; }

check_docs() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --release --no-deps; }

check_examples() {
    local example
    cargo build --locked --release --examples
    for example in examples/*.rs; do
        [[ -f $example ]] || continue
        example=$(basename "$example" .rs)
        printf -- '-- %s\n' "$example"
        TCH_SPIKING_QUICK=1 cargo run --locked --release --quiet --example "$example"
    done
}

# Builds a crate outside this workspace that embeds the library. It shares the build here: profile and versions are equal.
check_embed() (
    root=$PWD
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cp -R examples/embed/. "$folder"
    cp Cargo.lock "$folder"
    cd "$folder"
    sed -i.bak "s|path = \"../..\"|path = \"$root\"|" Cargo.toml
    export LIBTORCH=${LIBTORCH-$root/libtorch} CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
    CARGO_PROFILE_RELEASE_DEBUG=line-tables-only cargo build --release
    env -u LD_LIBRARY_PATH "$CARGO_TARGET_DIR/release/embed"
)

check_doctests() { cargo test --locked --release --doc; }

check_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --release --no-fail-fast
    else
        cargo test --locked --release --no-fail-fast --lib --bins --tests
    fi
}

[[ $# != 0 ]] || set -- format scripts lint features imports docs examples embed doctests tests
for part in "$@"; do
    if [[ $(type -t "check_$part") != function ]]; then
        printf 'check: unknown part %s; expected one of those listed at the top of scripts/check.sh\n' "$part" >&2
        exit 2
    fi
done
for part in "$@"; do
    printf '== %s\n' "$part"
    "check_$part"
done
