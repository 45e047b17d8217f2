# shellcheck shell=sh
# Copies a file ($1), or a directory if $3 is not empty, to another path ($2), with permissions and times.
there "$1" 1
# shellcheck disable=SC3013 # the shells have it, and of those that lack it the test fails
if [ -e "$2" ] && [ "$1" -ef "$2" ] 2>/dev/null; then refuse EINVAL 2; fi
if [ -d "$1" ]; then
    [ -n "$3" ] || refuse EISDIR 1
    if [ -e "$2" ] || [ -h "$2" ]; then refuse EEXIST 2; fi
    case $2/ in "${1%/}"/*) refuse EINVAL 2 ;; esac
    said=$(cp -R -H -p "$1" "$2" 2>&1) && exit 0
else
    if [ -d "$2" ]; then refuse EISDIR 2; fi
    said=$(cp -p "$1" "$2" 2>&1) && exit 0
fi
[ -r "$1" ] || refuse EACCES 1
if [ -e "$2" ] && [ ! -d "$2" ]; then writable "$2" 2; fi
if [ -h "$2" ] && [ ! -e "$2" ]; then follow "$2" 2; fi
changeable "$2" 2
give_up "$said" 1
