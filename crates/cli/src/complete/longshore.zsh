#compdef longshore
# Completions of longshore for zsh. The names come from its configuration.
_longshore() {
    local line
    local -a described open
    for line in "${(@f)$(${~words[1]} __complete zsh -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        # A directory or "--option=" is continued.
        if [[ $line == *[/=]: ]]; then
            open+=("${line%:}")
        else
            described+=("${line%:}")
        fi
    done
    (( $#open )) && compadd -S '' -- "${(@)open//\\:/:}"
    (( $#described )) && _describe -V longshore described
    return $(( $#open + $#described == 0 ))
}
if [[ $funcstack[1] == _longshore ]]; then
    _longshore "$@"
else
    compdef _longshore longshore
fi
