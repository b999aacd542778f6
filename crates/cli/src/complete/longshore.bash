# Completions of longshore for bash. The names come from its configuration.
_longshore() {
    local i word quote prefix candidate is_glued=0 words=()
    # Bash splits words at "=" and ":".
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]} > 1)) && { ((is_glued)) || [[ $word == [=:]* ]]; }; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        [[ $word == *[=:] ]] && is_glued=1 || is_glued=0
    done
    [[ ${words[-1]} == [\'\"]* ]] && quote=${words[-1]:0:1}
    for i in "${!words[@]}"; do
        word=${words[i]#[\'\"]}
        word=${word%[\'\"]}
        words[i]=${word//\\/}
    done
    # Only the part after the last "=" or ":" is replaced.
    prefix=${words[-1]%"${words[-1]##*[=:]}"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate=${candidate#"$prefix"}
        [[ $quote ]] || printf -v candidate %q "$candidate"
        COMPREPLY+=("$candidate")
    done < <("${1/#\~/$HOME}" __complete bash -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o nosort -o bashdefault -o default -F _longshore longshore
