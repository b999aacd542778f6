# Makes the base image of the container tests: a minimal Debian of this machine's release, with the
# lists and the files of packages that a build installs, so that it needs no network.
# usage: container-base.sh TARGET PACKAGE...
set -euo pipefail
umask 022
target=$1
shift

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
# The Debian mirror of this machine. In a new image, apt has no lists and so no mirror yet.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' | sed -n 1p
}
mirror=$(debian_mirror)
[ -n "$mirror" ] || { apt-get -qq update && mirror=$(debian_mirror); } || true
[ -n "$mirror" ] || { echo "apt has no Debian mirror; hint: run apt-get update as root" >&2; exit 1; }

tree=$target/root
trap 'rm -rf "$tree"' EXIT
debootstrap --variant=minbase "$release" "$tree" "$mirror" >"$target/debootstrap.log" ||
    { tail -n 20 "$target/debootstrap.log" >&2; exit 1; }
rm -f "$tree"/var/cache/apt/archives/*.deb
chroot "$tree" apt-get -qq update
chroot "$tree" apt-get -qq -y --no-install-recommends --download-only install "$@" >/dev/null
tar --create --file "$target/root.tar" --directory "$tree" --numeric-owner .
rm "$target/debootstrap.log"
