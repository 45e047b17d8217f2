# shellcheck shell=sh
# shellcheck disable=SC2154 # what paths.sh sets
# Tells why a file ($2) could not be read ($1 is `read`) or written, which the server has not said.
if [ "$1" = read ]; then
    there "$2" 1
    [ -r "$2" ] || refuse EACCES 1
    [ ! -d "$2" ] || refuse EISDIR 1
    [ -f "$2" ] || refuse EINVAL 1
else
    if [ -d "$2" ]; then refuse EISDIR 1; fi
    if [ -e "$2" ]; then [ -f "$2" ] || refuse EINVAL 1; writable "$2" 1; fi
    if [ -h "$2" ] && [ ! -e "$2" ]; then lead "$2" 1; changeable "$link" 1; fi
    makeable "$2" 1
fi
