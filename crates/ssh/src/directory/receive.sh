# Writes standard input to the temporary file, which must be new.
set -C
exec 3>"$2"
echo ready
exec cat >&3
