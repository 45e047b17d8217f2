# shellcheck shell=sh
# Makes a symlink ($2) that leads to $1.
if [ -e "$2" ] || [ -h "$2" ]; then refuse EEXIST 2; fi
said=$(ln -s -- "$1" "$2" 2>&1) && exit 0
changeable "$2" 2
give_up "$said" 2
