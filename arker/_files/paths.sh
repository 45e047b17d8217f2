# shellcheck shell=sh
# Functions that tell why a path cannot be used; a program on paths follows.
#
# A refusal is the exit code 120, and a line on standard error: the name of the error, and the number of the path.
LC_ALL=C; export LC_ALL
unset CDPATH
hops=0
refuse() { printf '%s %s\n' "$1" "$2" >&2; exit 120; }

# Refuses a path ($1, with the number $2) unless each directory on its way is one that may be entered.
reach() {
    rest=$1 way=
    while :; do
        while [ "$rest" != "${rest#/}" ]; do way=${way%/}/ rest=${rest#/}; done
        case $rest in */*) ;; *) return 0 ;; esac
        way=$way${rest%%/*} rest=${rest#*/}
        if [ -d "$way" ]; then [ -x "$way" ] || refuse EACCES "$2"
        elif [ -e "$way" ]; then refuse ENOTDIR "$2"
        elif [ -h "$way" ]; then follow "$way" "$2"
        else refuse ENOENT "$2"
        fi
        way=$way/
    done
}
# Sets where a symlink leads in the end ($link), whether or not there is anything.
lead() {
    link=$1
    while [ -h "$link" ]; do
        hops=$((hops + 1))
        [ "$hops" -le 40 ] || refuse ELOOP "$2"
        to=$(readlink "$link" && printf x) || break
        to=${to%?x}
        case $to in /*) link=$to ;; *) link=${link%"${link##*/}"}$to ;; esac
    done
}
# Refuses a symlink that leads to nothing.
follow() {
    lead "$1" "$2"
    reach "$link" "$2"
    refuse ENOENT "$2"
}
# Refuses a path that is not there, or leads to nothing.
there() {
    [ -e "$1" ] && return 0
    reach "$1" "$2"
    if [ -h "$1" ]; then follow "$1" "$2"; fi
    refuse ENOENT "$2"
}
# Refuses a path that is not there; a symlink may lead to nothing.
named() {
    [ -e "$1" ] || [ -h "$1" ] && return 0
    reach "$1" "$2"
    refuse ENOENT "$2"
}
parent() {
    case $1 in
    */*) parent=${1%/*}; parent=${parent:-/} ;;
    *) parent=. ;;
    esac
}
# Refuses a path in whose directory nothing may be changed, or whose disk is full.
changeable() {
    reach "$1" "$2"
    parent "$1"
    writable "$parent" "$2"
    full "$parent" "$2"
}
# Refuses a path to which directories that are missing cannot be made.
makeable() {
    path=$1 before=
    parent "$1"
    while [ ! -e "$parent" ] && [ ! -h "$parent" ] && [ "$path" != "$before" ]; do
        before=$path path=$parent
        parent "$path"
    done
    reach "$path" "$2"
    [ -d "$parent" ] || refuse ENOTDIR "$2"
    [ -x "$parent" ] || refuse EACCES "$2"
    writable "$parent" "$2"
    full "$parent" "$2"
}
writable() {
    [ -w "$1" ] && return 0
    [ "$(id -u)" != 0 ] || refuse EROFS "$2"
    refuse EACCES "$2"
}
owned() { [ -n "$(find "$1" -prune -user "$(id -u)" 2>/dev/null)" ] || refuse EPERM "$2"; }
full() {
    # shellcheck disable=SC2046 # the columns
    set -- "$2" $(df -P "$1" 2>/dev/null | tail -n 1)
    [ "${5-}" != 0 ] || refuse ENOSPC "$1"
}
# Removes what a program has made; also from directories whose permissions do not allow it, as of copies.
discard() {
    rm -rf -- "$@" 2>/dev/null && return 0
    find "$@" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
    rm -rf -- "$@"
}
# Tells of a failure that nothing explains: what a tool said of it ($1), and the number of the path ($2).
give_up() { printf '%s\n? %s\n' "$1" "$2" >&2; exit 120; }
