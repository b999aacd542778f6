# Prepares the location of a file. Arguments: the folder, the temporary file, the final name.
if is_there "$3"; then exit 83; fi
make "$1"
