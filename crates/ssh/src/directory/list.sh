# Lists all files whose names may be keys, or all temporary files: size, time, name, each record
# ended by NUL. Arguments: keys or drafts, and a folder to list, or nothing. No action is in
# parentheses, because BusyBox would ignore it.
odd='*[!A-Za-z0-9._%+:@,= -]*'
set -- "$1" "$2" -name '.*' -o -name '[+:@,= ]*' -o -name "$odd" -o -name '* ' \
    -o -name lost+found -o -name 'System Volume Information'
kind=$1
folder=$2
shift 2
if [ "$kind" = drafts ]; then
    set -- -name . -o -type d \( "$@" \) -prune -o -type f -name '.longshore-*.partial'
else
    set -- -name . -o \( "$@" \) -prune -o -type f
fi
# A missing folder is empty, and a link leads out of the directory. An unreadable one is an error.
is_empty=
if [ -n "$folder" ]; then
    above=$folder
    while ! is_there "$above"; do
        is_empty=1
        case $above in */*) above=${above%/*} ;; *) above=. ;; esac
    done
    [ ! -d "$above" ] || [ -x "$above" ] || { echo "$above: Permission denied" >&2; exit 1; }
    if [ -d "$folder" ]; then
        here=$(pwd -P)
        there=$(cd "./$folder" && pwd -P) || exit 1
        if [ "$there" = "${here%/}/$folder" ]; then cd "./$folder" || exit 1; else is_empty=1; fi
    else
        is_empty=1
    fi
fi
if [ -n "$is_empty" ]; then
    :
elif find . -ignore_readdir_race -prune -printf '' 2>/dev/null; then
    find . -ignore_readdir_race "$@" -printf '%s\t%T@\t%P\0' || exit 1
else
    find . "$@" -exec sh -c '
        for file do
            told=$(stat -c "%s/%Y" "$file" 2>/dev/null || stat -f "%z/%m" "$file") || { [ ! -e "$file" ] && continue; exit 1; }
            printf "%s\t%s\t%s\000" "${told%/*}" "${told#*/}" "${file#./}"
        done' sh {} + || exit 1
fi
