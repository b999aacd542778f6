# Prints the size of a file.
if [ -L "$1" ] || [ ! -f "$1" ]; then exit 84; fi
wc -c <"$1" || exit 1
