#!/bin/sh
# Creates a corpus of the first pages of a server's segments, and of its histories.
# usage: corpus.sh DATA_DIRECTORY
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/walk corpus/split corpus/history
for segment in "$1"/pg_wal/????????????????????????; do
    name=$(basename "$segment")
    head -c 65536 "$segment" >"corpus/walk/$name"
    { printf '\377\037'; cat "corpus/walk/$name"; } >"corpus/split/$name"
done
for history in "$1"/pg_wal/*.history; do
    [ -e "$history" ] || continue
    { printf '\007\000\000\000'; cat "$history"; } >"corpus/history/$(basename "$history")"
done
