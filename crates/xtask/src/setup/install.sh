# Installs the Debian packages in the arguments.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"; }

trap 'exit 1' INT TERM
undo=
trap 'eval "$undo"' EXIT

# Packages of servers start them unless this program forbids it. An existing program decides.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    undo="rm -f $policy; $undo"
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

apt update
case " $* " in
*" postgresql "*)
    # Package postgresql creates and starts a cluster unless this file forbids it. The file is
    # restored afterwards.
    apt install postgresql-common
    settings=/etc/postgresql-common/createcluster.conf
    cp -p "$settings" "$settings.before"
    undo="mv $settings.before $settings; $undo"
    echo 'create_main_cluster = false' >>"$settings"
    ;;
esac
apt install "$@"
# The tests start these programs themselves.
for unit in prometheus prometheus-alertmanager; do
    case " $* " in
    *" $unit "*) systemctl --quiet disable "$unit.service" 2>/dev/null || true ;;
    esac
done
