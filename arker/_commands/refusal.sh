# shellcheck shell=sh
# Tells why the directory $1 cannot be entered, in a line that begins with $2. It stands in one line with the command.
if [ ! -e "$1" ]; then why=missing; elif [ ! -d "$1" ]; then why="file"; else why=closed; fi; printf '%s %s\n' "$2" "$why" >&2
