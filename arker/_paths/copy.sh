# shellcheck shell=sh
# Copies a file ($1), or a directory if $3 is not empty, to another path ($2), with permissions and times. $4: a path beside
# the target that no other copy has; unlike the target's, its name does not end with a slash.
#
# The copy gets its name when it is whole: nothing is left of one that fails or is ended, and copies at once to one target do
# not mix their contents.
no_room() { case $said in *'No space left'* | *'uota exceeded'*) refuse ENOSPC 2 ;; esac; }
there "$1" 1
if [ -d "$1" ]; then
    [ -n "$3" ] || refuse EISDIR 1
    if [ -e "$2" ] || [ -h "$2" ]; then refuse EEXIST 2; fi
    # A directory cannot be copied into itself, by whatever path.
    parent "$4"
    # shellcheck disable=SC2154 # set by parent
    here=$(cd "$1" 2>/dev/null && pwd -P && printf x) above=$(cd "$parent" 2>/dev/null && pwd -P && printf x)
    here=${here%?x} above=${above%?x}
    case $above/ in "${here%/}"/*) [ -z "$here" ] || refuse EINVAL 2 ;; esac
    trap 'discard "$4"; exit 1' HUP INT TERM
    if said=$(cp -R -H -p "$1" "$4" 2>&1); then
        said=$(mv -T "$4" "$2" 2>&1) && exit 0
        # Some do not know -T. They move it into a directory that has been made there meanwhile.
        if [ ! -e "$2" ] && [ ! -h "$2" ] && said=$(mv "$4" "$2" 2>&1); then
            [ -e "$2/${4##*/}" ] || exit 0
            discard "$2/${4##*/}"
        fi
        if [ -e "$2" ] || [ -h "$2" ]; then discard "$4"; refuse EEXIST 2; fi
    fi
    discard "$4"
    no_room
else
    # shellcheck disable=SC3013 # the shells have it, and of those that lack it the test fails
    if [ -e "$2" ] && [ "$1" -ef "$2" ] 2>/dev/null; then refuse EINVAL 2; fi
    if [ -d "$2" ]; then refuse EISDIR 2; fi
    begun=''
    # What is no file of its own, such as a symlink or one of several names of a file, stays what it is, and is written in
    # place.
    if { [ ! -e "$2" ] && [ ! -h "$2" ]; } ||
        { [ ! -h "$2" ] && [ -w "$2" ] && [ -n "$(find "$2" -prune -type f -links 1 2>/dev/null)" ]; }; then
        trap 'rm -f "$4"; exit 1' HUP INT TERM
        if said=$(cp -p "$1" "$4" 2>&1); then
            said=$(mv -f "$4" "$2" 2>&1) && exit 0
        elif [ -e "$4" ]; then begun=1
        fi
        rm -f "$4"
        no_room
    fi
    # There may be no permission to make a file there. A copy that has failed halfway would do so again in the place of what
    # is there, of which nothing would be left.
    if [ -z "$begun" ] && { [ -e "$2" ] || [ -h "$2" ]; }; then said=$(cp -p "$1" "$2" 2>&1) && exit 0; fi
fi
[ -r "$1" ] || refuse EACCES 1
if [ -e "$2" ] && [ ! -d "$2" ]; then writable "$2" 2; fi
if [ -h "$2" ] && [ ! -e "$2" ]; then follow "$2" 2; fi
changeable "$4" 2
give_up "$said" 1
