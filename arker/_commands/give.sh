# shellcheck shell=sh
# Gives data to `feed.sh`, which reads the directory $1, as its file $2. The data are what printf makes of $3, or the
# content of the file $4 if there is one. The status is 4 if nothing is read there any more, and 5 if a file of this
# number was given before, which may have been read already: nothing is done then. One of these runs at a time.
cd -- "$1" 2>/dev/null || exit 4
last=0
if [ -e given ]; then read -r last <given; fi
if [ "$2" != end ] && [ "${last:-0}" -ge "$2" ]; then exit 5; fi
if [ -n "$4" ]; then
    mv -- "$4" "$2" || exit
else
    # shellcheck disable=SC2059 # it is a format
    printf "$3" >".$2" && mv -- ".$2" "$2" || exit
fi
if [ "$2" != end ]; then echo "$2" >given; fi
if [ -p news ]; then echo >&8; fi 8<>news
