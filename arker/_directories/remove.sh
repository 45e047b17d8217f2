# shellcheck shell=sh
# Removes a directory ($1), and again what is made anew there: of a request that was given up the server may have taken
# notice, and go on to write, until that has ended. Then it removes the directory above ($2), if one is given and empty.
quiet=0
while [ "$quiet" -lt 4 ]; do
    if [ -e "$1" ]; then
        quiet=0
        chmod -R u+rwx "$1"
        rm -rf -- "$1"
    else
        quiet=$((quiet + 1))
        sleep 0.1 || sleep 1
    fi
done 2>/dev/null
[ -z "$2" ] || rmdir "$2" 2>/dev/null
