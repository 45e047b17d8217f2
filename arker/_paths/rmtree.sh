# shellcheck shell=sh
# Removes a directory ($1) with everything in it.
named "$1" 1
[ -d "$1" ] && [ ! -h "$1" ] || refuse ENOTDIR 1
said=$(rm -rf "$1" 2>&1) && exit 0
changeable "$1" 1
if [ -n "$(find "$1" -type d ! -perm -300 2>/dev/null | head -n 1)" ]; then refuse EACCES 1; fi
owned "$1" 1
give_up "$said" 1
