# shellcheck shell=sh
# Removes a file or a symlink ($1).
named "$1" 1
if [ -d "$1" ] && [ ! -h "$1" ]; then refuse EISDIR 1; fi
said=$(rm -f "$1" 2>&1) && exit 0
changeable "$1" 1
# A directory in which only owners may remove.
owned "$1" 1
give_up "$said" 1
