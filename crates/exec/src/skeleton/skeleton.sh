#!/bin/bash
# NAME: a program for Longshore, see longshore-exec(7). It needs jq. This skeleton works with the
# folder of the setting `path`: it dumps the folder as a tar, and stores objects there. Keep the
# roles that you need, and replace their commands.
set -euo pipefail

send() { jq --null-input --compact-output "$@" >&3; }      # a message to Longshore
fail() { send --arg kind "$1" --arg message "$2" '{type: "error", $kind, $message}'; exit 1; }
field() { jq --raw-output "$1" <<<"$start"; }              # a field of the message `start`

read -r _ <&3                                              # the message `hello` of Longshore
send '{type: "hello", protocol: "longshore-exec/1", name: "NAME", version: "1",
    roles: ["dump", "verify", "ship", "fetch", "list", "stat", "remove", "check"]}'
read -r start <&3
path=$(field '.settings.path // ""')
key=$(field '.key // ""')
[ -n "$path" ] || fail usage 'the setting path is missing'
[ -d "$path" ] || fail unavailable "$path is not a folder"

entries() { jq --raw-input --compact-output 'split("\t") | {type: "entry", key: .[0], bytes: (.[1] | tonumber),
    modified: (.[2] | tonumber | floor | todate)}' >&3; }

case $(field .role) in
    dump)
        exec 4>&1
        bytes=$(tar --create --directory "$path" . | tee /dev/fd/4 | wc --bytes)
        send --argjson bytes "$bytes" '{type: "done", bytes_out: $bytes}' ;;
    verify)                                                # exit 1 or fail corrupt: not sound
        bytes=$(tee >(tar --list >/dev/null 2>&1 || true) | wc --bytes)
        send --argjson bytes "$bytes" '{type: "done", bytes_in: $bytes}' ;;
    ship)
        temp=$path/$(field .temp)                          # a hidden name that Longshore removes after a failure
        mkdir --parents "$(dirname "$temp")"
        cat >"$temp"
        read -r commit <&3 || exit 1                       # the end of the input alone is no success
        bytes=$(stat --format %s "$temp")
        [ "$bytes" = "$(jq .bytes <<<"$commit")" ] || fail failed 'the file has another size'
        sha256sum --check --status <<<"$(jq --raw-output .sha256 <<<"$commit")  $temp" || fail corrupt 'the file has another digest'
        sync "$temp"
        ln "$temp" "$path/$key" 2>/dev/null || fail already_exists "$key exists"    # never overwrites
        sync "$(dirname "$temp")"
        rm "$temp"
        send --argjson bytes "$bytes" '{type: "done", bytes_in: $bytes}' ;;
    fetch)
        [ -f "$path/$key" ] || fail not_found "$key does not exist"
        length=$(field .length)
        dd if="$path/$key" bs=1M iflag=skip_bytes,count_bytes skip="$(field .offset)" count="$length" status=none
        send --argjson bytes "$length" '{type: "done", bytes_out: $bytes}' ;;
    list)
        under=$(field .under)
        if [ -d "$path/$under" ]; then
            (cd "$path" && find "./$under" -type f -printf '%p\t%s\t%T@\n') | sed 's|^\./*||' | entries
        fi
        send '{type: "done"}' ;;
    stat)
        if [ -f "$path/$key" ]; then printf '%s\t%s\n' "$key" "$(stat --printf '%s\t%Y' "$path/$key")" | entries; fi
        send '{type: "done"}' ;;
    remove)                                 # of a key, of a temporary file, or of an empty folder
        if [ -f "$path/$key" ]; then rm --force "$path/$key"; fi
        if [ -d "$path/$key" ]; then rmdir --ignore-fail-on-non-empty "$path/$key"; fi
        send '{type: "done"}' ;;
    check)
        [ -w "$path" ] || fail denied "$path is not writable"
        send '{type: "done", note: "the folder is writable"}' ;;
esac
