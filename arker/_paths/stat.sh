# shellcheck shell=sh
# Tells of one path ($3) what is known of it; a symlink is followed if $2 is `follow`. $1: the tool.
if [ "$2" = follow ]; then there "$3" 1; else named "$3" 1; fi
case $1 in
find)
    if [ "$2" = follow ]; then option=-L; else option=-P; fi
    find "$option" "$3" -maxdepth 0 -printf '%y %m %s %U %G %n %i %A@ %T@ %C@ %Y\0%l\0' 2>/dev/null && exit 0
    ;;
*)
    line=
    if [ "$2" = follow ]; then option=-L; else option=; fi
    if [ "$1" = stat ]; then
        line=$(stat ${option:+"$option"} -c '%f %s %u %g %h %i %X %Y %Z|%x|%y|%z' "$3" 2>/dev/null)
    else
        line=$(ls -ldn ${option:+"$option"} "$3" 2>/dev/null)
    fi
    if [ -n "$line" ]; then
        target='' kind=''
        if [ "$2" != follow ] && [ -h "$3" ]; then link_of "$3"; fi
        printf '%s\0%s\0%s\0' "$line" "$target" "$kind"
        exit 0
    fi
    ;;
esac
give_up '' 1
