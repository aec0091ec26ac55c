#!/bin/sh
# Builds the program for this machine, and for thumbv7em-none-eabi if the compiler can, and says how large
# its code (text, with constants), data and zeroed memory are. Exits with 1 above 16 KiB of text for thumbv7em,
# and if text for a target that `baseline` has is more than a tenth larger than it says there.
#
# `crates/embedded/cargo-arm.sh` says what the compiler needs for thumbv7em.
set -eu
cd "$(dirname "$0")"
thumb=thumbv7em-none-eabi
limit=16384
failed=0
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
host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C link-arg=-nostartfiles -C link-arg=-static -C relocation-model=static -C link-arg=-Wl,--build-id=none" \
    cargo build --release --quiet --locked
# Tables for unwinding count as text, and nothing unwinds.
objcopy -R .eh_frame -R .eh_frame_hdr target/release/midge-bench-embedded target/release/bare
measure "$host" target/release/bare
found=0
RUSTFLAGS="-C link-arg=--gc-sections" \
    sh ../../crates/embedded/cargo-arm.sh build --release --quiet --locked || found=$?
case $found in
0) measure "$thumb" "target/$thumb/release/midge-bench-embedded" ;;
3) echo "$thumb: not measured" ;;
*) exit "$found" ;;
esac
exit "$failed"
