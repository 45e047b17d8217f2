# shellcheck shell=sh
# Refuses a file ($1) that cannot be written, or is there if $2 is `new`. $3: whether missing directories are no obstacle.
# $4: whether to tell the size of a file that is there.
if [ "$2" = new ]; then
    if [ -e "$1" ] || [ -h "$1" ]; then refuse EEXIST 1; fi
fi
if [ -d "$1" ]; then refuse EISDIR 1; fi
if [ -e "$1" ]; then
    [ -f "$1" ] || refuse EINVAL 1
    writable "$1" 1
    # shellcheck disable=SC2012 # the line of one file, whose size comes before its name
    if [ -n "$4" ]; then ls -ldnL "$1" | { read -r _ _ _ _ size _ && printf %s "$size"; }; fi
elif [ -h "$1" ]; then
    # What it leads to is made.
    lead "$1" 1
    # shellcheck disable=SC2154 # set by lead
    set -- "$link" "$2" "$3" "$4"
fi
if [ -n "$3" ]; then
    parent "$1"
    # shellcheck disable=SC2154 # set by parent
    if [ ! -e "$parent" ] && [ ! -h "$parent" ]; then makeable "$1" 1; exit 0; fi
fi
reach "$1" 1
parent "$1"
# shellcheck disable=SC2154 # set by parent
[ -d "$parent" ] || refuse ENOENT 1
if [ ! -e "$1" ]; then writable "$parent" 1; fi
