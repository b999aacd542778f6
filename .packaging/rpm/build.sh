#!/bin/sh
# Builds the RPM package of a binary, or of these sources: build.sh [BINARY] DIRECTORY
#
# Writes longshore-VERSION-RELEASE.ARCHITECTURE.rpm to the directory, with the files of the Debian
# package, which deb/build.sh builds and describes. Needs also rpmbuild and dpkg. The system's
# dependencies are those of the binary: build it on the oldest release that has to run it.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
case $# in
1) output=$(cd "$1" && pwd) ;;
*) output=$(cd "$2" && pwd) ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ $# -eq 1 ]; then set -- "$work"; else set -- "$1" "$work"; fi
deb=$(LONGSHORE_DEB_COMPRESSION='-Zgzip -z1' sh "$here/../deb/build.sh" "$@")
tree=$work/tree
dpkg-deb --extract "$deb" "$tree"
version=$(dpkg-deb --field "$deb" Version)

# The places that the distributions with RPM have for the same files.
mv "$tree/usr/share/zsh/vendor-completions" "$tree/usr/share/zsh/site-functions"
install -d "$tree/usr/share/licenses/longshore"
mv "$tree/usr/share/doc/longshore/copyright" "$tree/usr/share/licenses/longshore/"
rm -r "$tree/usr/share/lintian" "$tree/usr/share/doc/longshore/changelog.Debian.gz"
(cd "$tree" && find . -type f | sed -e 's/^\.//' -e '/\/man\//s/^/%doc /' -e '/\/licenses\//s/^/%license /' \
    -e '/\/doc\//s/^/%doc /') >"$work/files"

rpmbuild --quiet -bb --define "_topdir $work/rpm" --define "_rpmdir $output" \
    --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' --define '_build_id_links none' \
    --define '__os_install_post %{nil}' \
    --define "tree $tree" --define "package_files $work/files" --define "scripts $here/../deb" \
    --define "upstream ${version%-*}" --define "package_release ${version##*-}" "$here/longshore.spec" >&2
echo "$output/longshore-${version%-*}-${version##*-}.$(uname -m).rpm"
