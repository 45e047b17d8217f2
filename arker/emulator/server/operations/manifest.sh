# shellcheck shell=sh
# Lists the regular files below a directory. It prints the directory's real path; SIZE MODE PATH of each file; an empty
# record; and DIGEST PATH of each file; every record is ended by NUL. Files that cannot be read are left out, and so is
# what the kernel only shows as files: some of it has no end.
#
# $1: the directory. $2: how many files at most.
LC_ALL=C
export LC_ALL
[ -e "$1" ] || exit 0
[ -d "$1" ] || exit 20
cd -P -- "$1" 2>/dev/null || exit 13
[ "$PWD" != / ] || exit 22
printf '%s\0' "$PWD"
if stat --printf '' . 2>/dev/null && printf x | sha256sum -z >/dev/null 2>&1; then
    those() {
        find . \( -fstype proc -o -fstype sysfs \) -prune -o -type f -readable -print0 2>/dev/null | head -z -n "$1"
    }
    those "$2" | xargs -0 -r stat --printf '%s %a %n\0' -- 2>/dev/null
    printf '\0'
    those "$2" | xargs -0 -r sha256sum -z -- 2>/dev/null
else
    # shellcheck disable=SC2016 # the inner shell expands it
    find . -type f -exec sh -c 'for path; do
        [ ! -r "$path" ] || printf "%s %s\0" "$(stat -c "%s %a" -- "$path")" "$path"
    done' sh {} + 2>/dev/null
    printf '\0'
    # shellcheck disable=SC2016
    find . -type f -exec sh -c 'for path; do
        [ -r "$path" ] && digest=$(sha256sum <"$path") && printf "%s  %s\0" "${digest%% *}" "$path"
    done' sh {} + 2>/dev/null
fi
exit 0
