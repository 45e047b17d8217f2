# shellcheck shell=sh
# Makes a file of its parts, checks it, and moves it into place.
#
# Exit codes 81 to 83 mean another size, another digest, and no tool for digests; others are those of the tools.
target=$1 # where the file goes
stem=$2   # the paths of the parts, before their numbers
count=$3  # how many parts there are
size=$4   # the whole file's
digest=$5 # SHA-256 in hexadecimal, or nothing
mode=$6   # permissions for chmod; or nothing: as those of a file that is there
case $target in /*) ;; *) cd || exit; target=./$target stem=./$stem ;; esac
say() { printf '%s\n' "$1" >&2; exit "$2"; }

# Each part but the first is appended to that one and removed, so that no more disk is needed than for one part twice.
whole=${stem}0 number=1
while [ "$number" -lt "$count" ]; do
  cat "$stem$number" >>"$whole" && rm -f "$stem$number" || exit
  number=$((number + 1))
done

have=$(($(wc -c <"$whole"))) || exit
[ "$have" -eq "$size" ] || say "it has $have bytes" 81
if [ -n "$digest" ]; then
  if command -v sha256sum >/dev/null 2>&1; then sum=$(sha256sum <"$whole")
  elif command -v shasum >/dev/null 2>&1; then sum=$(shasum -a 256 <"$whole")
  elif command -v openssl >/dev/null 2>&1; then sum=$(openssl dgst -sha256 <"$whole")
  elif command -v python3 >/dev/null 2>&1; then sum=$(python3 -c '
import hashlib, sys
digest = hashlib.sha256()
while piece := sys.stdin.buffer.read(1 << 20):
    digest.update(piece)
print(digest.hexdigest())' <"$whole")
  else say "it has none of sha256sum, shasum, openssl and python3" 83; fi
  case $sum in *"$digest"*) ;; *) say "$sum" 82 ;; esac
fi

links=0
while [ -L "$target" ] && [ "$links" -lt 40 ]; do
  link=$(readlink "$target") || exit
  case $link in /*) target=$link ;; *) target=$(dirname "$target")/$link ;; esac
  links=$((links + 1))
done
if [ -d "$target" ]; then say "$target: Is a directory" 1; fi
# shellcheck disable=SC2012 # POSIX has no stat, and no name is read here
bits() { ls -ldL "$target" | cut -c "$1" | tr -d '-' | sed 's/s/xs/; s/S/s/; s/t/x/; s/T//'; }
if [ -z "$mode" ] && [ -f "$target" ]; then mode="u=$(bits 2-4),g=$(bits 5-7),o=$(bits 8-10)"; fi
if [ -n "$mode" ]; then chmod "$mode" "$whole" || exit; fi
mv -f "$whole" "$target"
