# shellcheck shell=sh
# Lists a directory ($3), with what is below it down to the depth $2. $1: the tool. $4: a file for a long list. $5: `follow` if
# symlinks are to be followed. $6: the text of link.sh.
there "$3" 1
[ -d "$3" ] || refuse ENOTDIR 1
[ -r "$3" ] && [ -x "$3" ] || refuse EACCES 1
tool=$1 depth=$2 directory=$3 file=$4 follow=-H link=$6
if [ "$5" = follow ]; then follow=-L; fi
entries() {
    find "$follow" "$directory" -mindepth 1 -maxdepth "$depth" \
        -printf '%y %m %s %U %G %n %i %A@ %T@ %C@ %Y\0%l\0%P\0' 2>/dev/null
}
if [ "$tool" = find ]; then
    if [ "$depth" = 1 ]; then
        set -- "$directory"/*
        if [ $# -lt 1000 ]; then
            set -- "$directory"/.*
            if [ $# -lt 1000 ]; then entries; exit 0; fi
        fi
    fi
    entries | spool "$file"
    exit 0
fi

# Other tools are told of the entries, and do not print NUL. No path of an entry has `//` in it.
directory=${directory%/}
below() {
    if [ "$depth" = 1 ]; then find "$follow" "$directory/." ! -name . -prune "$@"
    else find "$follow" "$directory/." ! -name . "$@"
    fi
}
{
    if [ "$tool" = stat ]; then
        below -exec stat -c '%f %s %u %g %h %i %X %Y %Z|%x|%y|%z|%n//' {} +
    else
        # shellcheck disable=SC2016 # it is the inner shell's
        below -exec sh -c 'for path do
            line=$(ls -ldn "$path" && printf x) && printf "%s|%s//\n" "${line%%"$path"*}" "$path"
        done' sh {} +
    fi 2>/dev/null
    printf '\0'
    # shellcheck disable=SC2016 # it is the inner shell's
    below -type l -exec sh -c 'eval "$1"; shift
        for path do link_of "$path"; printf "%s\0%s\0%s\0" "$path" "$target" "$kind"; done' sh "$link" {} + 2>/dev/null
    printf '\0'
} | spool "$file"
