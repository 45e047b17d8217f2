# shellcheck shell=sh
# Writes to stdout what comes into the directory $1: the files 1, 2, … in their order, until there is "end" in it, or
# until it has gone. Each file is whole when it has its name. The pipe "news" only says that something has come.
trap '' HUP INT QUIT USR1 USR2 ALRM TERM
next=1
while [ -d "$1" ]; do
    over=
    if [ -e "$1/end" ]; then over=1; fi
    while [ -e "$1/$next" ]; do
        cat "$1/$next"
        rm -f "$1/$next"
        next=$((next + 1))
    done
    if [ -n "$over" ]; then break; fi
    read -r _ <&8
done 8<>"$1/news"
