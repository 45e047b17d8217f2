# shellcheck shell=sh
# Lists the names in a directory ($1). $2: a file for a long list.
there "$1" 1
[ -d "$1" ] || refuse ENOTDIR 1
[ -r "$1" ] || refuse EACCES 1
file=$2
if cd "$1" 2>/dev/null; then before=; else before=${1%/}/; fi
print() {
    for pattern in '.[!.]*' '..?*' '*'; do
        # shellcheck disable=SC2086 # it is to be expanded
        if [ -n "$before" ]; then set -- "$before"$pattern; else set -- $pattern; fi
        if [ $# = 1 ] && [ "$1" = "$before$pattern" ] && [ ! -e "$1" ] && [ ! -h "$1" ]; then continue; fi
        printf '%s\0' "$@"
    done
}
set -- *
if [ $# -lt 5000 ]; then print; else print | spool "$file"; fi
