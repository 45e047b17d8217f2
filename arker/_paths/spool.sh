# shellcheck shell=sh
# Passes on what comes in: the beginning at once, and what is more than that in a file ($1), which the caller removes.
spool() {
    dd bs=65536 count=8 2>/dev/null
    (umask 077 && cat >"$1") 2>/dev/null || { rm -f "$1"; refuse ENOSPC 1; }
    if [ -s "$1" ]; then printf 'more\n' >&2; else rm -f "$1"; fi
}
