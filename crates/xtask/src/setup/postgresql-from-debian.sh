# Unpacks PostgreSQL's programs from another Debian release into a folder, to run beside this
# release's own.
# usage: postgresql-from-debian.sh MAJOR RELEASE TARGET
#
# The folder includes the libraries of that release, even the C library, and the programs are
# patched to use them. Nothing outside TARGET changes, and TARGET appears only when it is complete.
set -euo pipefail
umask 022
major=$1 release=$2 target=$3

# A killed run leaves this folder, and the next run starts again.
work=$target.new
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{apt/etc/{apt.conf.d,preferences.d,trusted.gpg.d},apt/state/lists/partial,apt/cache/archives/partial,tree}
touch "$work/apt/status"

# The Debian mirror and keys of this machine. In a new image, apt has no lists and so no mirror yet.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' | sed -n 1p
}
mirror=$(debian_mirror)
[ -n "$mirror" ] || { apt-get -qq update && mirror=$(debian_mirror); } || true
[ -n "$mirror" ] || { echo "apt has no Debian mirror; hint: run apt-get update as root" >&2; exit 1; }
keys=$(ls /usr/share/keyrings/debian-archive-keyring.{pgp,gpg} 2>/dev/null | sed -n 1p || true)
[ -n "$keys" ] || { echo "package debian-archive-keyring is missing" >&2; exit 1; }
echo "deb [signed-by=$keys] $mirror $release main" >"$work/apt/etc/sources.list"

# A separate apt without installed packages, so that it downloads every library.
apt() {
    apt-get -qq -o Dir::Etc="$work/apt/etc" -o Dir::State="$work/apt/state" -o Dir::State::status="$work/apt/status" \
        -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=0 \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
}
apt update
apt install -y --download-only "postgresql-$major" "postgresql-client-$major" >/dev/null
for package in "$work"/apt/cache/archives/{postgresql-"$major",postgresql-client-"$major",lib,zlib1g}*.deb; do
    # LLVM compiles queries and is larger than all other packages together.
    case $package in */libllvm*) ;; *) dpkg -x "$package" "$work/tree" ;; esac
done

# PostgreSQL finds its files relative to its programs, so the folders keep their layout.
server=usr/lib/postgresql/$major
mkdir -p "$work/made/lib" "$work/made/usr/lib/postgresql" "$work/made/usr/share/postgresql"
cp -a "$work/tree/$server" "$work/made/usr/lib/postgresql/"
cp -a "$work/tree/usr/share/postgresql/$major" "$work/made/usr/share/postgresql/"
rm -rf "$work/made/$server/lib/bitcode" "$work/made/$server"/lib/llvmjit*

# The libraries of the programs and modules, found by the loader of that release.
libraries=$(dirname "$(find "$work/tree" -name libc.so.6 | sed -n 1p)")
loader=$(find "$work/tree" -name 'ld-linux*.so.*' | sed -n 1p)
cp -L "$loader" "$work/made/lib/loader"
for file in "$work/made/$server"/bin/* "$work/made/$server"/lib/*.so; do
    "$work/made/lib/loader" --library-path "$libraries" --list "$file" 2>/dev/null || true
done | awk -v from="$libraries/" '$2 == "=>" && index($3, from) == 1 { print $3 }' | sort -u | xargs cp -Lt "$work/made/lib"

# The programs contain absolute paths, so they work only in TARGET. Scripts stay unchanged.
for program in "$work/made/$server"/bin/*; do
    if patchelf --print-interpreter "$program" >/dev/null 2>&1; then
        patchelf --set-interpreter "$target/lib/loader" --force-rpath --set-rpath "$target/lib" "$program"
    fi
done
rm -rf "$target"
mv "$work/made" "$target"
