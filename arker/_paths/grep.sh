# shellcheck shell=sh
# Searches a file, or the files of a directory ($2), for lines that match a pattern ($1).
# $3: options of grep. $4: a file for a long list. $5: `grep-z` where grep ends names by NUL.
there "$2" 1
[ -r "$2" ] || refuse EACCES 1
pattern=$1 path=$2 options=$3 file=$4 zero=$5
characters=C # UTF-8, where the VM's grep can do that
for locale in ${zero:+C.UTF-8 C.utf8 en_US.UTF-8}; do
    if printf '\303\251\n' | LC_ALL=$locale grep -qx . 2>/dev/null; then characters=$locale; break; fi
done
printf '' | LC_ALL=$characters grep ${options:+"$options"} -e "$pattern" >/dev/null 2>&1
[ $? -lt 2 ] || { printf 'pattern\n' >&2; exit 121; }
search() {
    if [ -n "$zero" ]; then
        # shellcheck disable=SC2016 # it is the inner shell's
        # With these characters grep takes other text for binary, so that binary files are left out before.
        grep -rlZIs -e '' -- "$path" |
            LC_ALL=$characters xargs -0 sh -c 'options=$1 pattern=$2; shift 2
                [ $# = 0 ] || exec grep -HZans"$options" -e "$pattern" -- "$@"' sh "${options#-}" "$pattern"
    else
        # shellcheck disable=SC2016 # it is the inner shell's
        find "$path" -type f -exec sh -c 'options=$1 pattern=$2; shift 2
            for path do
                grep -n ${options:+"$options"} -e "$pattern" "$path" 2>/dev/null | while IFS= read -r line; do
                    printf "%s\0%s\n" "$path" "$line"
                done
            done' sh "$options" "$pattern" {} +
    fi 2>/dev/null
}
search | spool "$file"
exit 0
