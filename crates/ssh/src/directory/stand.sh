# What every command begins with. $1: the directory, which is stood in from then on, or what is wrong with it is told by an exit status.
LC_ALL=C
export LC_ALL
unset CDPATH
umask 077
if ! cd "$1" 2>/dev/null; then
    [ -e "$1" ] || exit 80
    [ -d "$1" ] || exit 81
    cd "$1" || exit 1
fi
case $(ls -ld .) in ????????w*) exit 82 ;; esac
shift

is_there() { [ -e "$1" ] || [ -L "$1" ]; }

# Makes what happened in a folder last, and the folders that lead to it. Some network file systems have no such call.
settle() {
    above=$1
    set -- "$1"
    while [ "$above" != . ]; do
        case $above in */*) above=${above%/*} ;; *) above=. ;; esac
        set -- "$@" "$above"
    done
    told=$(sync "$@" 2>&1) && return
    case $told in
    *"Invalid argument"* | *"not supported"*) sync ;;
    *) echo "$told" >&2 && return 1 ;;
    esac
}

# The SHA-256 of standard input, by whichever program is there.
sum() {
    if command -v sha256sum >/dev/null; then sha256sum
    elif command -v shasum >/dev/null; then shasum -a 256
    elif command -v openssl >/dev/null; then openssl dgst -sha256 -r
    else exit 88; fi
}
