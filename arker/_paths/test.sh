# shellcheck shell=sh
# Tells whether there is something at a path ($2): anything (`-e`), a file (`-f`) or a directory (`-d`).
if test "$1" "$2"; then printf 1; else printf 0; fi
