# Creates the folders that lead to $1. None of them may be a link: files behind a link are not
# listed.
make() {
    at=.
    IFS=/
    for part in $1; do
        at=$at/$part
        if [ -L "$at" ]; then exit 86; fi
        if [ -d "$at" ]; then
            case $(ls -ld "$at") in ????????w*) echo "${at#./}" >&2 && exit 85 ;; esac
            continue
        fi
        if [ -e "$at" ]; then exit 86; fi
        mkdir "$at" 2>/dev/null || [ -d "$at" ] || mkdir "$at" || exit 1
    done
    unset IFS
}
