# shellcheck shell=sh
# Sets the permissions ($2) of a path ($1).
there "$1" 1
said=$(chmod "$2" "$1" 2>&1) && exit 0
owned "$1" 1
give_up "$said" 1
