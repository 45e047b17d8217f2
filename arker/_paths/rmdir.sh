# shellcheck shell=sh
# Removes an empty directory ($1).
said=$(rmdir "$1" 2>&1) && exit 0
named "$1" 1
[ -d "$1" ] && [ ! -h "$1" ] || refuse ENOTDIR 1
for name in "$1"/.[!.]* "$1"/..?* "$1"/*; do
    if [ -e "$name" ] || [ -h "$name" ]; then refuse ENOTEMPTY 1; fi
done
changeable "$1" 1
owned "$1" 1
give_up "$said" 1
