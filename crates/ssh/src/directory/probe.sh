# Tests all operations that a temporary file needs, and cleans up. Arguments: two temporary files.
trap 'rm -f "$1" "$2"' EXIT
set -C
exec 3>"$1"
sum <"$1" >/dev/null
sync "$1" || exit 1
link "$1" "$2" || exit 89
settle . || exit 1
# Lists world-writable folders. Listings report unreadable ones.
find . -type d -perm -0002 2>/dev/null || :
