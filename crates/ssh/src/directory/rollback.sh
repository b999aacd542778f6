# Deletes the files of a cancelled upload. Arguments: the folder, the temporary file, the name, and
# "published" if the file has its name.
if [ "$4" = published ] || [ "$2" -ef "$3" ]; then rm -f "$3"; fi
rm -f "$2" || exit 1
[ ! -d "$1" ] || settle "$1"
