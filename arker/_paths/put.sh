# shellcheck shell=sh
# Writes to a file ($1) what another one ($3) holds, which is removed, or else the text $4; $2: `>` or `>>`.
# $5: whether to make its directories.
if [ -d "$1" ]; then refuse EISDIR 1; fi
if [ -n "$5" ]; then
    parent "$1"
    # shellcheck disable=SC2154 # set by parent
    mkdir -p "$parent" 2>/dev/null || makeable "$1" 1
fi
write() {
    if [ -n "$1" ]; then cat "$1"; else printf '%b' "$2"; fi
}
if [ "$2" = '>>' ]; then (write "$3" "$4" >>"$1") 2>/dev/null
else (write "$3" "$4" >"$1") 2>/dev/null
fi
status=$?
if [ -n "$3" ]; then rm -f "$3"; fi
[ "$status" != 0 ] || exit 0
# shellcheck disable=SC2154 # set by lead
if [ -h "$1" ] && [ ! -e "$1" ]; then lead "$1" 1; changeable "$link" 1; fi
if [ -e "$1" ]; then writable "$1" 1; fi
changeable "$1" 1
give_up '' 1
