# shellcheck shell=sh
# Tells what a directory holds, in the form that manifest.py describes. It changes nothing.
#
# $1: the directory. $2: names of directories whose content is left out, with spaces between them; letters, digits and
# ._- only. $3: digests are made of files whose sizes are in these ranges: LEAST-MOST, with spaces between them.
# $4, $5: where to look, if not everywhere: paths, as words for the shell; of the first not at what they hold.
#
# shellcheck disable=SC2086 # words for `find` and the tool are to be split
LC_ALL=C; export LC_ALL
unset CDPATH
printf 'arker-tree 1\0'
if [ ! -e "$1" ] && [ ! -h "$1" ]; then printf 'absent\0end\0'; exit 0; fi
if [ ! -d "$1" ]; then printf 'other\0end\0'; exit 0; fi
cd -P -- "$1" 2>/dev/null && [ -r . ] || { printf 'closed\0end\0'; exit 0; }
works() { printf x | "$@" >/dev/null 2>&1; }
if works sha256sum; then TOOL=sha256sum; COMMAND=sha256sum
elif works shasum -a 256; then TOOL=shasum; COMMAND='shasum -a 256'
elif works openssl dgst -sha256 -r; then TOOL=openssl; COMMAND='openssl dgst -sha256 -r'
elif works cksum; then TOOL='cksum'; COMMAND='cksum'
else TOOL=; COMMAND=false
fi
export COMMAND
printf 'directory\0%s\0\0' "$TOOL"
exec 2>/dev/null

# No word for `find` stands for names of files.
set -f
HIDDEN='' SKIP=''
if [ -n "$2" ]; then
    for name in $2; do HIDDEN="$HIDDEN ${HIDDEN:+-o} -name $name"; done
    HIDDEN="-type d ( $HIDDEN ) -prune"
    SKIP="$HIDDEN -o"
fi
SIZES=''
for range in $3; do
    least=${range%-*} most=${range#*-}
    if [ "$least" = "$most" ]; then range="-size ${least}c"
    else range="( ! -size -${least}c ! -size +${most}c )"
    fi
    SIZES="$SIZES ${SIZES:+-o} $range"
done

# What is looked at; of what is hidden, only `entries` finds the directory itself.
if [ $# -lt 5 ]; then
    entries() { find . "$@" $HIDDEN; }
    those() { find . $SKIP "$@"; }
else
    ALONE=$4 WHOLE=$5
    entries() {
        eval "find . $ALONE -prune \"\$@\""
        [ -z "$WHOLE" ] || eval "find $WHOLE \"\$@\" \$HIDDEN"
    }
    those() {
        eval "find . $ALONE -prune \"\$@\""
        [ -z "$WHOLE" ] || eval "find $WHOLE \$SKIP \"\$@\""
    }
fi

if stat -c %f . >/dev/null; then
    entries -exec stat -c '%f %s %n//' {} +
else
    entries -exec sh -c 'for path do
        line=$(ls -ldn "$path") || continue
        set -f; set -- $line; printf "%s %s %s//\n" "$1" "$5" "$path"
    done' sh {} +
fi
printf '\0\0'

those -type l -exec sh -c 'for path do
    if command -v readlink >/dev/null; then
        target=$(readlink "$path" && printf x) || continue
        target=${target%?x}
    else
        target=$(ls -ld "$path" && printf x) || continue
        target=${target%?x}
        target=${target#*"$path -> "}
    fi
    printf "%s\0%s\0" "$path" "$target"
done' sh {} +
printf '\0'

if [ -n "$SIZES" ]; then
    # Tools write the names of these in ways of their own.
    ODD="*[\\\\$(printf '\r')
]*"
    those -type f '(' $SIZES ')' ! -path "$ODD" -exec $COMMAND {} +
    printf '\0\0'
    those -type f '(' $SIZES ')' -path "$ODD" -exec sh -c 'for path do
        line=$($COMMAND <"$path") && printf "%s\0%s\0" "$path" "$line"
    done' sh {} +
    printf '\0'
else
    printf '\0\0\0'
fi

those -type d -exec sh -c 'for path do
    [ -r "$path" ] && [ -x "$path" ] || printf "%s\0" "$path"
done' sh {} +
printf '\0end\0'
