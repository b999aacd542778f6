# Lists all files whose names may be keys, or all temporary files: size, time, name, each record
# ended by NUL. Argument: keys or drafts. No action is in parentheses, because BusyBox would ignore
# it.
odd='*[!A-Za-z0-9._%-]*'
if [ "$1" = drafts ]; then
    set -- -name . -o -type d \( -name '.*' -o -name "$odd" \) -prune -o -type f -name '.longshore-*.partial'
else
    set -- -name . -o \( -name '.*' -o -name "$odd" \) -prune -o -type f
fi
if find . -ignore_readdir_race -prune -printf '' 2>/dev/null; then
    find . -ignore_readdir_race "$@" -printf '%s\t%T@\t%P\0' || exit 1
else
    find . "$@" -exec sh -c '
        for file do
            told=$(stat -c "%s/%Y" "$file" 2>/dev/null || stat -f "%z/%m" "$file") || { [ ! -e "$file" ] && continue; exit 1; }
            printf "%s\t%s\t%s\000" "${told%/*}" "${told#*/}" "${file#./}"
        done' sh {} + || exit 1
fi
