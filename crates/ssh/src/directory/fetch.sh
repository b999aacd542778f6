# Prints the size of a file on a line, then its bytes, or $2 bytes from the $3rd byte on.
if [ -L "$1" ] || [ ! -f "$1" ]; then exit 84; fi
size=$(wc -c <"$1") || exit 1
echo $size
if [ -z "$2" ]; then exec cat "$1"; fi
[ $(($3 - 1 + $2)) -le $size ] || exit 85
if [ "$2" = 0 ]; then exit; fi
tail -c "+$3" "$1" | head -c "$2"
