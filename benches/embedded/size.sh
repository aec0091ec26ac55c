#!/bin/sh
# Builds the program for this machine, and for thumbv7em-none-eabi if the compiler can, and says how large
# its code (text, with constants), data and zeroed memory are. Exits with 1 above 16 KiB of text for thumbv7em,
# and if text for a target that `baseline` has is more than a tenth larger than it says there.
#
# For thumbv7em the compiler needs that target's core: `rustup target add thumbv7em-none-eabi`, or Rust's own
# sources (`rustup component add rust-src`, or rustc and rust-src of Debian), out of which it is then built,
# optimised as the one that comes ready. LINKER may name a linker for ARM if the compiler has no rust-lld.
set -eu
cd "$(dirname "$0")"
thumb=thumbv7em-none-eabi
limit=16384
failed=0
rustc=${RUSTC:-rustc}
measure() {
    set -- "$1" $(size -B "$2" | awk 'NR == 2 { print $1, $2, $3 }')
    echo "$1: text $2 bytes, data $3, bss $4"
    before=$(awk -v target="$1" '$1 == target { print $2 }' baseline)
    if [ -n "$before" ] && [ "$2" -gt $((before + before / 10)) ]; then
        echo "$1: more than a tenth above the $before bytes in benches/embedded/baseline"
        failed=1
    fi
    if [ "$1" = "$thumb" ] && [ "$2" -gt "$limit" ]; then
        echo "$1: more than $limit bytes of text"
        failed=1
    fi
}
host=$("$rustc" -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C link-arg=-nostartfiles -C link-arg=-static -C relocation-model=static -C link-arg=-Wl,--build-id=none" \
    cargo build --release --quiet --locked
# Tables for unwinding count as text, and nothing unwinds.
objcopy -R .eh_frame -R .eh_frame_hdr target/release/midge-bench-embedded target/release/bare
measure "$host" target/release/bare
rustlib=$("$rustc" --print sysroot)/lib/rustlib
std=
if [ -d "$rustlib/$thumb" ]; then
    std=ready
elif [ -d "$rustlib/src/rust/library/core" ]; then
    std="-Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem
        --config profile.release.package.core.opt-level=3
        --config profile.release.package.compiler_builtins.opt-level=3"
    export RUSTC_BOOTSTRAP=1
fi
if [ -n "$std" ]; then
    # shellcheck disable=SC2086 # several arguments, or none
    RUSTFLAGS="-C link-arg=--gc-sections${LINKER:+ -C linker=$LINKER}" \
        cargo build --release --quiet --locked --target "$thumb" ${std#ready}
    measure "$thumb" "target/$thumb/release/midge-bench-embedded"
else
    echo "$thumb: the compiler has neither this target nor its own sources"
fi
exit "$failed"
