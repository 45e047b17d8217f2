# shellcheck shell=sh
# Tells of several paths ($2 and so on) what is known of what they lead to, each with the path. $1: the tool. Those that lead to
# nothing are left out, or are symlinks.
tool=$1
shift
if [ "$tool" = find ]; then
    find -L "$@" -maxdepth 0 -printf '%y %m %s %U %G %n %i %A@ %T@ %C@ %Y\0%p\0' 2>/dev/null
    exit 0
fi
for path do
    if [ "$tool" = stat ]; then
        line=$(stat -L -c '%f %s %u %g %h %i %X %Y %Z|%x|%y|%z' "$path" 2>/dev/null)
    else
        line=$(ls -ldnL "$path" 2>/dev/null)
    fi
    if [ -n "$line" ]; then printf '%s\0%s\0' "$line" "$path"; fi
done
exit 0
