# shellcheck shell=sh
# Finds out which tools the VM has: prints words.
LC_ALL=C; export LC_ALL
works() { "$@" >/dev/null 2>&1; }
if [ "$(find . -maxdepth 0 -printf '%y' 2>/dev/null)" = d ]; then printf 'find '
elif works stat -c '%f %h' .; then printf 'stat '
else printf 'ls '
fi
if [ "$(printf 'x\n' | grep -HZn --label=a -e x 2>/dev/null | tr '\0' '/')" = a/1:x ]; then printf 'grep-z '; fi
# Both fail since there are no such files; other versions refuse the option.
if mv -fT ./.arker-none ./.arker-none 2>&1 | grep -q 'arker-none'; then printf 'mv-t '; fi
if works python3 -c 'import ctypes'; then printf 'python3 '; fi
