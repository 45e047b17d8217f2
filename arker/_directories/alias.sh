# shellcheck shell=sh
# Gives files names that can be sent: symlinks to them, with numbers for names. Lines that call `name` follow.
cd -P -- "$1" || exit 1 # the directory that the files are in
ROOT=${PWD%/}
cd || exit 1
STAGING=$2 # the directory for the symlinks, below the home directory

name() { ln -s -- "$ROOT/$1" "$STAGING/$2"; } # a path, and a number
