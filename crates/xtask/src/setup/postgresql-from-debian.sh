# Puts PostgreSQL's programs from another Debian release into a folder, to run beside this release's own.
# usage: postgresql-from-debian.sh MAJOR RELEASE TARGET
#
# They bring the libraries they were built against, the C library included, and are told to use those. Nothing outside
# TARGET changes, and TARGET appears only once it is complete.
set -euo pipefail
umask 022
major=$1 release=$2 target=$3

# A run that was killed leaves this folder; the next one begins anew.
work=$target.new
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{apt/etc/{apt.conf.d,preferences.d,trusted.gpg.d},apt/state/lists/partial,apt/cache/archives/partial,tree}
touch "$work/apt/status"

# The mirror that this machine uses already, and Debian's keys. Where apt has no lists yet, as in a fresh image, it knows of none.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' | sed -n 1p
}
mirror=$(debian_mirror)
[ -n "$mirror" ] || { apt-get -qq update && mirror=$(debian_mirror); } || true
[ -n "$mirror" ] || { echo "apt knows no mirror of Debian; hint: apt-get update, as root" >&2; exit 1; }
keys=$(ls /usr/share/keyrings/debian-archive-keyring.{pgp,gpg} 2>/dev/null | sed -n 1p || true)
[ -n "$keys" ] || { echo "package debian-archive-keyring is missing" >&2; exit 1; }
echo "deb [signed-by=$keys] $mirror $release main" >"$work/apt/etc/sources.list"

# An apt of its own, which knows no installed package, so it fetches every library too.
apt() {
    apt-get -qq -o Dir::Etc="$work/apt/etc" -o Dir::State="$work/apt/state" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=0 \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
apt update
apt install -y --download-only "postgresql-$major" "postgresql-client-$major" >/dev/null
for package in "$work"/apt/cache/archives/{postgresql-"$major",postgresql-client-"$major",lib,zlib1g}*.deb; do
    # Compiling queries needs LLVM, which is larger than all the rest.
    case $package in */libllvm*) ;; *) dpkg -x "$package" "$work/tree" ;; esac
done

# PostgreSQL finds its files relative to its programs, so the folders keep their places.
server=usr/lib/postgresql/$major
mkdir -p "$work/made/lib" "$work/made/usr/lib/postgresql" "$work/made/usr/share/postgresql"
cp -a "$work/tree/$server" "$work/made/usr/lib/postgresql/"
cp -a "$work/tree/usr/share/postgresql/$major" "$work/made/usr/share/postgresql/"
rm -rf "$work/made/$server/lib/bitcode" "$work/made/$server"/lib/llvmjit*

# The loader and the libraries that the programs and modules ask for, found by that loader itself.
libraries=$(dirname "$(find "$work/tree" -name libc.so.6 | sed -n 1p)")
loader=$(find "$work/tree" -name 'ld-linux*.so.*' | sed -n 1p)
cp -L "$loader" "$work/made/lib/loader"
for file in "$work/made/$server"/bin/* "$work/made/$server"/lib/*.so; do
    "$work/made/lib/loader" --library-path "$libraries" --list "$file" 2>/dev/null || true
done | awk -v from="$libraries/" '$2 == "=>" && index($3, from) == 1 { print $3 }' | sort -u | xargs cp -Lt "$work/made/lib"

# Paths are written into the programs, so they hold only at TARGET. Scripts among them stay as they are.
for program in "$work/made/$server"/bin/*; do
    if patchelf --print-interpreter "$program" >/dev/null 2>&1; then
        patchelf --set-interpreter "$target/lib/loader" --force-rpath --set-rpath "$target/lib" "$program"
    fi
done
rm -rf "$target"
mv "$work/made" "$target"
