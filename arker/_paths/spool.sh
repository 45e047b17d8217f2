# shellcheck shell=sh
# Passes on what comes in: the beginning at once, and what is more than that in a file ($1), which the caller removes.
spool() {
    # Without that, a block is what one reading gives, however little.
    if dd if=/dev/null iflag=fullblock 2>/dev/null; then full=iflag=fullblock; else full=; fi
    dd bs=65536 count=8 ${full:+"$full"} 2>/dev/null
    (umask 077 && cat >"$1") 2>/dev/null || { rm -f "$1"; refuse ENOSPC 1; }
    if [ -s "$1" ]; then printf 'more\n' >&2; else rm -f "$1"; fi
}
