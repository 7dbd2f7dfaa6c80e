#!/usr/bin/env bash
# Prepares a fresh machine to build tch-spiking: installs libtorch 2.11 from PyPI in .venv, and links `libtorch` to it.
#
#   scripts/setup.sh           libtorch for the CPU (needs about 2 GB)
#   scripts/setup.sh --cuda    with the CUDA libraries (needs about 5 GB; install the driver yourself)
#   scripts/setup.sh --python  also make torch importable in .venv/bin/python, for scripts/*.py and their tests (about 4 GB)
#
# It can be run repeatedly and only does what is missing. If LIBTORCH is set, that libtorch is checked and used instead.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly torch=2.11.0
readonly series=2.11
readonly oldest_python=10 newest_python=14 # the Python 3.x versions supported by torch 2.11
readonly marker=.venv/libtorch-setup       # written by a completed setup: the version, and cpu or cuda

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    [[ $# == 0 ]] || printf '  %s\n' "$@" >&2
    exit 1
}

main() {
    local want=cpu python='' option
    for option in "$@"; do
        case $option in
            --cuda) want=cuda ;;
            --python) python=wanted ;;
            -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' scripts/setup.sh && exit ;;
            *) printf 'usage: scripts/setup.sh [--cuda] [--python]\n' >&2 && exit 2 ;;
        esac
    done
    check_build_tools
    if [[ -n ${LIBTORCH+set} ]]; then
        check_own_libtorch "$want"
    elif is_done "$want"; then
        say "nothing to do: libtorch $(version_of libtorch) is in place"
    else
        install "$want"
    fi
    [[ -z $python ]] || install_python
}

check_build_tools() {
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
        fail "there is no C++ compiler (c++ or g++). On Debian or Ubuntu: apt install g++"
    command -v cargo >/dev/null || [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]] ||
        fail "there is no Rust (cargo). Install it from https://rustup.rs, then open a new shell"
}

# The version of the libtorch in folder $1, from its own files.
version_of() {
    if [[ -f $1/build-version ]]; then
        head -n 1 "$1/build-version"
    elif [[ -f $1/version.py ]]; then
        sed -n "s/^__version__ = ['\"]\(.*\)['\"]/\1/p" "$1/version.py"
    fi
}

has_library() { [[ -f $1/lib/lib$2.so || -f $1/lib/lib$2.dylib ]]; }

# Whether the loader finds all dependencies of library $2 in folder $1; assumed if there is no ldd (macOS).
loads() {
    command -v ldd >/dev/null || return 0
    local needs
    needs=$(ldd "$1/lib/lib$2.so" 2>/dev/null) && [[ $needs != *'not found'* ]]
}

check_own_libtorch() {
    local own=$LIBTORCH version
    [[ $own == /* ]] || fail "LIBTORCH is '$own': set it to the absolute path of a libtorch $series, or unset it"
    has_library "$own" torch_cpu || fail "LIBTORCH is '$own', but there is no libtorch_cpu in its lib folder: correct or unset it"
    version=$(version_of "$own")
    [[ $version == "$series".* ]] ||
        fail "LIBTORCH is '$own', version ${version:-unknown}, but tch 0.24 needs libtorch $series: correct or unset it"
    [[ -d $own/include/torch ]] || fail "LIBTORCH is '$own', but its headers (include/torch) are missing: correct or unset it"
    if [[ $1 == cuda ]]; then
        has_library "$own" torch_cuda || fail "LIBTORCH is '$own', which was built without CUDA: correct or unset it"
    fi
    loads "$own" torch_cpu ||
        fail "LIBTORCH is '$own', but its libtorch_cpu does not load here (see ldd '$own/lib/libtorch_cpu.so'): correct or unset it"
    say "nothing to do: LIBTORCH is '$own', version $version"
}

is_done() {
    local made=
    [[ -f $marker ]] && read -r made <"$marker"
    [[ $made == "$torch $1" || $made == "$torch cuda" ]] || return 1
    [[ $(version_of libtorch) == "$torch"* ]] || return 1
    has_library libtorch torch_cpu && loads libtorch torch_cpu || return 1
    [[ $1 == cpu || $(uname) != Linux ]] || loads libtorch torch_cuda
}

install() {
    say "installing libtorch $torch ($1) into $PWD/.venv; this can take several minutes"
    if [[ -e libtorch && ! -L libtorch ]]; then
        fail "'$PWD/libtorch' already exists and is not the link that this script creates. Move it, or set LIBTORCH to it"
    fi
    rm -f "$marker"
    make_environment
    forget_half_installed
    if [[ $1 == cuda ]]; then
        pip_install "torch==$torch"
    else
        pip_install --no-deps "torch==$torch"
        # libtorch_cpu.so itself is linked to two small CUDA libraries.
        local requirement
        local -a needed=()
        while IFS= read -r requirement; do needed+=("$requirement"); done < <(.venv/bin/python - <<'PYTHON'
import importlib.metadata, re
for requirement in importlib.metadata.requires("torch") or []:
    toolkit = re.match(r"cuda-toolkit\[.*\](==.*)", requirement)
    if toolkit:
        print("cuda-toolkit[cudart,cupti]" + toolkit[1])
    elif re.match(r"nvidia-cuda-(runtime|cupti)", requirement):
        print(requirement)
PYTHON
        )
        [[ ${#needed[@]} == 0 ]] || pip_install "${needed[@]}"
    fi
    link_libtorch
    [[ $(version_of libtorch) == "$torch"* ]] ||
        fail "pip installed torch $(version_of libtorch), but $torch was requested. Delete .venv and run this again"
    loads libtorch torch_cpu ||
        fail "libtorch_cpu.so does not load here (see ldd libtorch/lib/libtorch_cpu.so). Delete .venv and run this again"
    [[ $1 == cpu ]] || has_library libtorch torch_cuda ||
        fail "the torch that pip found for this machine was built without CUDA (pip config list shows where it looked)"
    echo "$torch $1" >"$marker"
    say "done: libtorch $(version_of libtorch)"
}

imports_torch() { .venv/bin/python -c 'import torch.fx' >/dev/null 2>&1; }

# Installs what `import torch` needs besides libtorch_cpu: its Python dependencies, and the CUDA libraries that its extension
# module is linked to, even without a CUDA device. Compilers for CUDA (triton, half a gigabyte) are omitted.
install_python() {
    [[ -z ${LIBTORCH+set} ]] || fail "--python completes the torch in .venv, but LIBTORCH is set: unset it, or use another Python with torch"
    if imports_torch; then
        say "nothing to do: .venv/bin/python imports torch"
        return
    fi
    say "completing torch in $PWD/.venv, so that Python can import it"
    local requirement
    local -a needed=()
    while IFS= read -r requirement; do needed+=("$requirement"); done < <(.venv/bin/python - <<'PYTHON'
import importlib.metadata, re, sys
for requirement in importlib.metadata.requires("torch") or []:
    specifier, _, marker = (part.strip() for part in requirement.partition(";"))
    if "extra ==" in marker or re.match(r"triton|cuda-bindings|setuptools", specifier):
        continue
    if "Linux" in marker and sys.platform != "linux":
        continue
    print(re.sub(r"^cuda-toolkit\[.*\]", "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusparse,nvjitlink]", specifier))
PYTHON
    )
    pip_install "${needed[@]}"
    imports_torch || fail "Python still cannot import torch; .venv/bin/python -c 'import torch' says why"
    say "done: .venv/bin/python imports torch"
}

# A Python environment in .venv with a pip that works.
make_environment() {
    local python
    if .venv/bin/python -m pip --version >/dev/null 2>&1; then
        return
    fi
    python=$(find_python)
    if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        "$python" -m venv --clear .venv || fail "'$python -m venv .venv' failed (its output is above)"
    elif "$python" -c 'import venv, pip' 2>/dev/null; then
        # Debian ships ensurepip in python3-venv; without it, the environment uses the system's pip.
        "$python" -m venv --clear --without-pip --system-site-packages .venv ||
            fail "'$python -m venv .venv' failed (its output is above)"
    else
        fail "$python has no venv module. On Debian or Ubuntu: apt install python3-venv"
    fi
    .venv/bin/python -m pip --version >/dev/null ||
        fail "there is no pip in the new environment .venv. On Debian or Ubuntu: apt install python3-venv python3-pip"
}

# The first Python version supported by torch.
find_python() {
    local name minor found=
    for name in python3 python3.{14..10} python; do
        minor=$("$name" -c 'import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else 0)' 2>/dev/null) || continue
        if ((minor >= oldest_python && minor <= newest_python)); then
            command -v "$name"
            return
        fi
        found=${found:-$("$name" -c 'import platform; print(platform.python_version())')}
    done
    local expected="torch $torch needs Python 3.$oldest_python to 3.$newest_python"
    [[ -z $found ]] || fail "$expected, but python3 is $found. Install one of these too, or set LIBTORCH to a libtorch $series"
    fail "there is no Python (python3), and $expected. On Debian or Ubuntu: apt install python3 python3-venv"
}

# pip considers a package installed even if its installation was interrupted; a missing RECORD, written last, shows it.
forget_half_installed() {
    local package
    for package in .venv/lib/python3*/site-packages/*.dist-info; do
        [[ ! -d $package || -f $package/RECORD ]] || rm -rf "$package"
    done
}

pip_install() {
    .venv/bin/python -m pip --disable-pip-version-check --no-input install --no-warn-conflicts "$@" || fail \
        "pip could not install $* (its output is above). Check:" \
        "- the network: can this machine reach PyPI? (a proxy goes into HTTPS_PROXY, a mirror into pip's configuration)" \
        "- the disk: $(df -Pk . | awk 'NR == 2 { printf "%.1f", $4 / 1e6 }') GB are free here; 2 GB are needed, with --python 4 GB, with --cuda 5 GB, half as much again in ${TMPDIR:-/tmp}" \
        "Then run scripts/setup.sh again; or set LIBTORCH to an existing libtorch $series"
}

# Relative, so that the project folder can be moved.
link_libtorch() {
    local folder
    for folder in .venv/lib/python3*/site-packages/torch; do
        if has_library "$folder" torch_cpu; then
            ln -sfn "$folder" libtorch
            return
        fi
    done
    fail "pip has installed torch, but not into .venv. Delete .venv and run this again (pip config list shows what may send it elsewhere)"
}

main "$@"
