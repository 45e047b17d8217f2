# shellcheck shell=sh
# Gives a file ($1) a name that can be sent: a symlink ($2).
there "$1" 1
case $1 in /*) path=$1 ;; *) path=${PWD%/}/$1 ;; esac
ln -s -- "$path" "$2"
