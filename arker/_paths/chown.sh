# shellcheck shell=sh
# Sets the owner ($2) and the group ($3) of a path ($1), each unless it is empty; of a symlink itself if $4 is `-h`.
if [ "$4" = -h ]; then named "$1" 1; else there "$1" 1; fi
case $2 in *[!0-9]*) id -u "$2" >/dev/null 2>&1 || give_up "the VM has no user $2" 1 ;; esac
case $3 in *[!0-9]*)
    grep -q "^$3:" /etc/group 2>/dev/null || getent group "$3" >/dev/null 2>&1 || give_up "the VM has no group $3" 1
    ;;
esac
said=$(chown ${4:+"$4"} "$2${3:+:$3}" "$1" 2>&1) && exit 0
[ "$(id -u)" = 0 ] || refuse EPERM 1
give_up "$said" 1
