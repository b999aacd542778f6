# Publishes a temporary file under its name if its content is right, without overwriting. Arguments:
# the folder, the temporary file, the name, the number of bytes, the SHA-256, and "again" if an
# earlier attempt may have succeeded.
judge() {
    found=$(wc -c <"$1") || exit 1
    [ $found -eq "$bytes" ] || exit 87
    found=$(sum <"$1") || exit
    [ "${found%% *}" = "$sha256" ] || exit 87
}
folder=$1 draft=$2 name=$3 bytes=$4 sha256=$5 try=$6
if [ -e "$draft" ]; then
    judge "$draft"
    sync "$draft" || exit 1
    # link(2) is atomic and fails if the name is taken; ln would create a link in a folder of that
    # name.
    if ! told=$(link "$draft" "$name" 2>&1); then
        if ! is_there "$name"; then
            echo "$told" >&2
            exit 89
        fi
        [ "$try" = again ] && [ "$draft" -ef "$name" ] || exit 83
    fi
    rm -f "$draft" || exit 1
elif [ "$try" = again ] && [ -f "$name" ]; then
    (judge "$name") || exit 83
else
    exit 84
fi
settle "$folder" || {
    rm -f "$name"
    exit 1
}
