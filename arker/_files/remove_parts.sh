# shellcheck shell=sh
# Removes the parts of a file.
stem=$1  # their paths, before their numbers
count=$2 # how many there are
number=0
case $stem in /*) ;; *) cd || exit; stem=./$stem ;; esac
while [ "$number" -lt "$count" ]; do
  rm -f "$stem$number" || exit
  number=$((number + 1))
done
