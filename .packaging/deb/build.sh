#!/bin/sh
# Builds the Debian package of a binary, or of these sources: build.sh [BINARY] DIRECTORY
#
# Writes longshore_VERSION_ARCHITECTURE.deb to the directory. Without BINARY, cargo-auditable builds
# one whose section .dep-v0 lists its dependencies (SBOM) for scanners of vulnerabilities; the
# program is installed with cargo if it is missing. LONGSHORE_DEB_PROFILE sets another profile of
# cargo than release.
#
# LONGSHORE_DEB_VERSION sets another version, LONGSHORE_DEB_COMPRESSION other options of dpkg-deb,
# DEBFULLNAME and DEBEMAIL the maintainer. Needs binutils. The tree is written here and not by
# cargo-deb, since the manual pages, the completions and the schema come from the binary itself.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
if [ $# -eq 1 ]; then
    output=$1
    profile=${LONGSHORE_DEB_PROFILE:-release}
    cargo auditable --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-auditable >&2
    binary=$(cd "$repository" && cargo auditable build --locked --workspace --bin longshore \
        --profile "$profile" --message-format json-render-diagnostics |
        sed -n 's/.*"kind":\["bin"\].*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
else
    binary=$1
    output=$2
fi
maintainer="${DEBFULLNAME:-The authors of Longshore} <${DEBEMAIL:-longshore@example.org}>"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

chmod 755 "$root"
longshore=$root/usr/bin/longshore
install -D -m 755 "$binary" "$longshore"
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$longshore"

version=${LONGSHORE_DEB_VERSION:-$("$longshore" --version | cut -d ' ' -f 2)-1}
architecture=$(dpkg --print-architecture)
# The newest symbols of the C library that the binary uses.
libc=$(objdump -T "$longshore" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -uV | tail -n 1)

"$longshore" man "$root/usr/share/man" >/dev/null
find "$root/usr/share/man" -type f -exec gzip -9n {} +
chmod -R u=rwX,go=rX "$root/usr/share/man"

completion() {
    mkdir -p "$(dirname "$root/$2")"
    "$longshore" completions "$1" >"$root/$2"
}
completion bash usr/share/bash-completion/completions/longshore
completion zsh usr/share/zsh/vendor-completions/_longshore
completion fish usr/share/fish/vendor_completions.d/longshore.fish

for unit in longshore.service longshore.socket; do
    install -D -m 644 "$here/$unit" "$root/usr/lib/systemd/system/$unit"
done
install -D -m 644 "$here/longshore.preset" "$root/usr/lib/systemd/system-preset/50-longshore.preset"

schema=$root/usr/share/longshore/config.schema.json
mkdir -p "$(dirname "$schema")"
"$longshore" config schema >"$schema"

doc=$root/usr/share/doc/longshore
install -D -m 644 "$repository/config.example.toml" "$doc/examples/config.toml"
for file in "$repository"/plugins/exec-examples/*; do
    mode=755
    case $file in *.md) mode=644 ;; esac
    install -D -m "$mode" "$file" "$doc/examples/exec/$(basename "$file")"
done
install -D -m 644 "$here/copyright" "$doc/copyright"
printf 'longshore (%s) unstable; urgency=medium\n\n  * Release %s.\n\n -- %s  %s\n' \
    "$version" "$version" "$maintainer" "$(date -R --date "@${SOURCE_DATE_EPOCH:-0}")" | gzip -9n >"$doc/changelog.Debian.gz"
install -D -m 644 "$here/lintian-overrides" "$root/usr/share/lintian/overrides/longshore"

for script in postinst prerm postrm; do
    install -D -m 755 "$here/$script" "$root/DEBIAN/$script"
done
size=$(du -sk --exclude DEBIAN "$root" | cut -f 1)
cat >"$root/DEBIAN/control" <<END
Package: longshore
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $size
Depends: libc6 (>= $libc), libgcc-s1, adduser
Recommends: postgresql-client, ca-certificates, openssh-client, age, zstd, jq
Suggests: rsync
Section: admin
Priority: optional
Description: verified, encrypted, off-site PostgreSQL backups with drills
 Longshore dumps databases or takes base backups of clusters, verifies every
 byte while it passes, encrypts with age, and uploads to other disks, hosts and
 buckets. It prunes by a retention policy, restores, and proves in drills that
 backups can be restored.
END
(cd "$root" && find usr -type f -exec md5sum {} + | sort -k 2 >DEBIAN/md5sums)
# shellcheck disable=SC2086 # several options
dpkg-deb --root-owner-group ${LONGSHORE_DEB_COMPRESSION:--Zxz} --build "$root" "$output/longshore_${version}_$architecture.deb" >/dev/null
echo "$output/longshore_${version}_$architecture.deb"
