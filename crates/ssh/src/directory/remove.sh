# Removes a file, if it is there. Told: its folder, its name. Who removed it before may not have lived to make that last.
if [ -f "$2" ] && [ ! -L "$2" ]; then rm -f "$2" || exit 1; fi
if [ -d "$1" ] && [ ! -L "$1" ]; then settle "$1" || exit 1; fi
