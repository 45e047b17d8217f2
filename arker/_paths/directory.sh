# shellcheck shell=sh
# Refuses what is no directory ($1), or one that cannot be listed.
there "$1" 1
[ -d "$1" ] || refuse ENOTDIR 1
[ -r "$1" ] && [ -x "$1" ] || refuse EACCES 1
