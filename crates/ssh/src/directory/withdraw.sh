# Takes back what nobody waits for any more. Told: the folder, the draft, the name, and whether the name was given to it.
if [ "$4" = published ] || [ "$2" -ef "$3" ]; then rm -f "$3"; fi
rm -f "$2" || exit 1
[ ! -d "$1" ] || settle "$1"
