#!/bin/sh
# Builds the program for this machine, and for thumbv7em-none-eabi if that target is installed, and says how
# large its code (text, with constants), data and zeroed memory are. Exits with 1 above 16 KiB of text for
# thumbv7em; code for this machine may have half as much again.
set -eu
cd "$(dirname "$0")"
limit=16384
measure() {
    set -- "$1" $(size -B "$2" | awk 'NR == 2 { print $1, $2, $3 }')
    echo "$1: text $2 bytes, data $3, bss $4"
    text=$2
}
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C link-arg=-nostartfiles -C link-arg=-static -C relocation-model=static -C link-arg=-Wl,--build-id=none" \
    cargo build --release --quiet
# Tables for unwinding count as text, and nothing unwinds.
objcopy -R .eh_frame -R .eh_frame_hdr target/release/midge-bench-embedded target/release/bare
measure "$host" target/release/bare
if [ -d "$(rustc --print sysroot)/lib/rustlib/thumbv7em-none-eabi" ]; then
    RUSTFLAGS="-C link-arg=--gc-sections" cargo build --release --quiet --target thumbv7em-none-eabi
    measure thumbv7em-none-eabi target/thumbv7em-none-eabi/release/midge-bench-embedded
else
    echo "thumbv7em-none-eabi: not installed (rustup target add thumbv7em-none-eabi)"
    limit=$((limit * 3 / 2))
fi
[ "$text" -le "$limit" ] || { echo "more than $limit bytes of text"; exit 1; }
