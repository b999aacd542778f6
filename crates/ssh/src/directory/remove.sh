# Deletes a file, if it exists. Arguments: its folder, its name. The folder is synced even if the
# file is missing: an earlier deletion may not be durable yet.
if [ -f "$2" ] && [ ! -L "$2" ]; then rm -f "$2" || exit 1; fi
if [ -d "$1" ] && [ ! -L "$1" ]; then settle "$1" || exit 1; fi
