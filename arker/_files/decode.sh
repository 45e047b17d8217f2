# shellcheck shell=sh
# Decodes the arguments, which are written for `%b` of printf since bytes that are no UTF-8 cannot be sent.
for word do
    shift
    word=$(printf '%bx' "$word")
    set -- "$@" "${word%x}"
done
