# shellcheck shell=sh
# shellcheck disable=SC2034 # what it sets is for the program that follows
# Sets where a symlink leads ($target), and to what kind of thing ($kind).
link_of() {
    if command -v readlink >/dev/null; then
        target=$(readlink "$1" && printf x)
        target=${target%?x}
    else
        target=$(ls -ld "$1" && printf x)
        target=${target%?x}
        target=${target#*"$1 -> "}
    fi
    kind=N
    if [ -d "$1" ]; then kind=d; elif [ -f "$1" ]; then kind=f; elif [ -e "$1" ]; then kind=U; fi
}
