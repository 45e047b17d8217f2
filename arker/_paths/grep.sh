# shellcheck shell=sh
# Searches a file, or the files of a directory ($2), for lines that match a pattern ($1).
# $3: options of grep. $4: a file for a long list. $5: `grep-z` where grep ends names by NUL.
there "$2" 1
[ -r "$2" ] || refuse EACCES 1
pattern=$1 path=$2 options=$3 file=$4 zero=$5
printf '' | grep ${options:+"$options"} -e "$pattern" >/dev/null 2>&1
[ $? -lt 2 ] || { printf 'pattern\n' >&2; exit 121; }
search() {
    if [ -n "$zero" ]; then
        grep -rHZIns"${options#-}" -e "$pattern" -- "$path"
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
