# The end of the completions for zsh, which loads a function from the file of its name, and runs the file at the first call.

if [[ ${funcstack[1]-} == _arker ]]; then
  _arker "$@"
else
  compdef _arker arker
fi
