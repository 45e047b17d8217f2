# shellcheck shell=sh
# Makes a directory ($1), with permissions ($2) or those by default; with those above it if $3 is not empty. $4: whether
# one that is there is as good.
if [ -n "$3" ]; then
    parent "$1"
    # shellcheck disable=SC2154 # set by parent
    if ! mkdir -p "$parent" 2>/dev/null; then
        # Where a directory is to be made stands a symlink that leads to nothing: that is there, as pathlib has it.
        case $(makeable "$1" 1 2>&1) in ENOENT*) refuse EEXIST 1 ;; esac
        makeable "$1" 1
    fi
fi
said=$(mkdir ${2:+-m "$2"} "$1" 2>&1) && exit 0
if [ -e "$1" ] || [ -h "$1" ]; then
    if [ -n "$4" ] && [ -d "$1" ]; then exit 0; fi
    refuse EEXIST 1
fi
changeable "$1" 1
give_up "$said" 1
