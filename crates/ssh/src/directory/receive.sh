# Then writes standard input to the draft, which nobody else may have begun.
set -C
exec 3>"$2"
echo ready
exec cat >&3
