# shellcheck shell=sh
# Renames a path ($1) to another ($2), as the system's call does. $3: `mv-t` where mv has -T.
# The system goes the way to both before it looks for the first.
[ -e "$1" ] || [ -h "$1" ] || { reach "$1" 1; reach "$2" 2; refuse ENOENT 1; }
from='' to=''
if [ -d "$1" ] && [ ! -h "$1" ]; then from=directory; fi
if [ -d "$2" ] && [ ! -h "$2" ]; then to=directory; elif [ -e "$2" ] || [ -h "$2" ]; then to=other; fi
# shellcheck disable=SC3013 # the shells have it, and of those that lack it the test fails
if [ -n "$to" ] && [ ! -h "$1" ] && [ ! -h "$2" ] && [ "$1" -ef "$2" ] 2>/dev/null; then exit 0; fi
case $from-$to in
directory-other) refuse ENOTDIR 2 ;;
-directory) refuse EISDIR 2 ;;
esac
if [ -n "$3" ]; then
    said=$(mv -fT "$1" "$2" 2>&1) && exit 0
elif { [ "$to" != directory ] || rmdir "$2" 2>/dev/null; } && { [ ! -h "$2" ] || rm -f "$2"; }; then
    said=$(mv -f "$1" "$2" 2>&1) && exit 0
fi
reach "$1" 1
reach "$2" 2
case $2/ in "${1%/}"/*) refuse EINVAL 2 ;; esac
if [ "$to" = directory ]; then
    for name in "$2"/.[!.]* "$2"/..?* "$2"/*; do
        if [ -e "$name" ] || [ -h "$name" ]; then refuse ENOTEMPTY 2; fi
    done
fi
changeable "$1" 1
changeable "$2" 2
owned "$1" 1
give_up "${said-}" 1
