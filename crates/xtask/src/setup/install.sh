# Installs the Debian packages that are named as arguments.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"; }

apt update
case " $* " in
*" postgresql "*)
    # Package postgresql makes and starts a cluster unless this file forbids it. It is put back afterwards.
    apt install postgresql-common
    settings=/etc/postgresql-common/createcluster.conf
    cp -p "$settings" "$settings.before"
    trap 'mv "$settings.before" "$settings"' EXIT
    trap 'exit 1' INT TERM
    echo 'create_main_cluster = false' >>"$settings"
    ;;
esac
apt install "$@"
