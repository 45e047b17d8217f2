# shellcheck shell=sh
# Makes an empty file ($1), or sets its times to now; one that is there is refused if $2 is `new`.
if [ "$2" = new ]; then
    (set -C && : >"$1") 2>/dev/null && exit 0
    if [ -e "$1" ] || [ -h "$1" ]; then refuse EEXIST 1; fi
    said=
else
    said=$(touch "$1" 2>&1) && exit 0
fi
# shellcheck disable=SC2154 # set by lead
if [ -h "$1" ] && [ ! -e "$1" ]; then lead "$1" 1; changeable "$link" 1; fi
if [ -e "$1" ]; then writable "$1" 1; fi
changeable "$1" 1
give_up "$said" 1
