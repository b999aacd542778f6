# Makes way for a file. Told: the folder, the draft in it, and what it is to be once it is whole.
if is_there "$3"; then exit 83; fi
make "$1"
