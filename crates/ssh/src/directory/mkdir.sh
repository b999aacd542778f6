# Creates the folders that lead to $1. None of them may be a link: files behind a link are not
# listed. Another upload may create the same folders at any moment.
make() {
    at=.
    IFS=/
    for part in $1; do
        at=$at/$part
        [ -d "$at" ] || mkdir "$at" 2>/dev/null || is_there "$at" || mkdir "$at" || exit 1
        if [ -L "$at" ] || [ ! -d "$at" ]; then exit 86; fi
        case $(ls -ld "$at") in ????????w*) echo "${at#./}" >&2 && exit 85 ;; esac
    done
    unset IFS
}
