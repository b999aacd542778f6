# The start of every script. $1: the directory, which becomes the working directory. The exit status
# reports a problem of the directory.
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

# Makes the changes in a folder and its parents durable. Some network file systems do not support
# this.
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

# Prints the SHA-256 of standard input.
sum() {
    if command -v sha256sum >/dev/null; then sha256sum
    elif command -v shasum >/dev/null; then shasum -a 256
    elif command -v openssl >/dev/null; then openssl dgst -sha256 -r
    else exit 88; fi
}
