# shellcheck shell=sh
# Removes the SDK's own temporary files.
discard "$@"
