# shellcheck shell=sh
# Makes the directory $1 that `feed.sh` reads.
mkdir -m 700 -- "$1" && mkfifo -m 600 -- "$1/news"
