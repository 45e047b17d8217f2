# shellcheck shell=sh
# Puts into place what was uploaded beside it. The steps follow: lines that call these functions.
#
# Each directory is entered, and it is checked where that has led to, before a name in it is touched. A step that fails
# is reported: its number, and what was said about it, each ended by NUL.
LC_ALL=C; export LC_ALL
unset CDPATH
umask 022
cd -P -- "$1" || exit 1 # the directory
ROOT=$PWD
STAGING=${ROOT%/}/${2:?} # the name of the staging directory in it
BESIDE=
trap 'cd / && chmod -R u+rwx "$STAGING" 2>/dev/null; rm -rf -- "$STAGING" ${BESIDE:+"$BESIDE"}' EXIT
trap 'exit 1' HUP INT TERM
MOUNTS=$([ ! -r /proc/self/mounts ] || while read -r _ where _; do
    case $where in *\\*) where=$(printf '%b' "$where") ;; esac # a space is \040 there
    case $where in "${ROOT%/}"/?*) printf '%s\n' "$where" ;; esac
done </proc/self/mounts) # below the directory
IFS='
'; set -f

at() {  # a directory
    ok=
    cd -P -- "$ROOT" 2>/dev/null || return 0
    if [ -n "$1" ]; then
        cd -P -- "./$1" 2>/dev/null && [ "$PWD" = "${ROOT%/}/$1" ] || return 0
    fi
    ok=1
}
one() {  # a number, and a command
    number=$1; shift
    message='its directory has gone'
    { [ "$ok" ] && message=$("$@" 2>&1); } || printf '%s\0%s\0' "$number" "$message"
}
each() {  # a command, the number of the first name, and the names
    what=$1 count=$2; shift 2
    [ "$ok" ] && "$what" "$@" >/dev/null 2>&1 && return 0
    for name do
        one "$count" "again_$what" "$name"
        count=$((count + 1))
    done
}
modes() {  # chmod follows symlinks
    for name do
        [ ! -h "$name" ] && test "$KIND" "$name" || { echo 'something else is in its place'; return 1; }
    done
    chmod "$MODE" "$@"
}
again_modes() { modes "$1"; }
remove() { rm -f -- "$@"; }
again_remove() { remove "$1"; }
remove_directories() { rmdir -- "$@"; }
again_remove_directories() { [ ! -e "$1" ] && [ ! -h "$1" ] || rmdir -- "$1"; }
make() { mkdir -- "$@"; }
again_make() { [ -d "$1" ] && [ ! -h "$1" ] || mkdir -- "$1"; }
elsewhere() {  # whether this is another filesystem than the one of what is staged
    for where in $MOUNTS; do
        case $PWD/ in "$where"/*) return 0 ;; esac
    done
    return 1
}
put() {
    if elsewhere; then BESIDE=$PWD/${STAGING##*/}; return 1; fi
    mv -f -- "$@" .
}
again_put() {
    [ -e "$1" ] || [ -h "$1" ] || return 0
    elsewhere || { mv -f -- "$1" .; return; }
    # It would remove the file that is there, and then copy: so it copies beside, and renames.
    mkdir -p "$BESIDE" && mv -f -- "$1" "$BESIDE" && mv -f -- "$BESIDE/${1##*/}" . && rmdir "$BESIDE" && return
    rm -rf -- "$BESIDE"; return 1
}
