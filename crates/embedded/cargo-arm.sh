#!/bin/sh
# cargo for a Cortex-M4, in the folder of a program: `sh cargo-arm.sh build --release`.
#
# Takes the compiler's own core for that target (`rustup target add thumbv7em-none-eabi`), or builds it out of
# Rust's sources, optimised as the one that comes ready: those beside the compiler (`rustup component add
# rust-src`), or Debian's compiler with its sources where `tests/run.py --install --group board` has put them.
# Exits with 3 if there is none of these.
set -eu
target=thumbv7em-none-eabi
here=$(cd "$(dirname "$0")" && pwd)
unpacked=${CARGO_TARGET_DIR:-$here/../../target}/third-party/arm/usr
rustc=${RUSTC:-rustc}
own=$("$rustc" --print sysroot)/lib/rustlib
host=$("$rustc" -vV | sed -n 's/^host: //p')
if [ ! -d "$own/$target" ]; then
    if [ ! -d "$own/src/rust/library/core" ]; then
        if [ ! -x "$unpacked/bin/rustc" ]; then
            echo "the compiler has neither $target nor its own sources" >&2
            exit 3
        fi
        RUSTC=$unpacked/bin/rustc
        # It finds the libraries that it came with beside itself, but not LLVM.
        LD_LIBRARY_PATH=$unpacked/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        CARGO_TARGET_THUMBV7EM_NONE_EABI_LINKER=${CARGO_TARGET_THUMBV7EM_NONE_EABI_LINKER:-$own/$host/bin/rust-lld}
        export RUSTC LD_LIBRARY_PATH CARGO_TARGET_THUMBV7EM_NONE_EABI_LINKER
    fi
    export RUSTC_BOOTSTRAP=1
    set -- "$@" -Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem \
        --config profile.release.package.core.opt-level=3 \
        --config profile.release.package.compiler_builtins.opt-level=3
fi
exec cargo "$@" --target "$target"
