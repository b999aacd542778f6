# Completions of longshore for fish. The names come from its configuration.
function __longshore_complete
    set --local words (commandline --current-process --tokenize --cut-at-cursor)
    set --local current (commandline --current-token --cut-at-cursor)
    $words[1] __complete fish -- $words "$current" 2>/dev/null
end
complete --command longshore --no-files --keep-order --arguments '(__longshore_complete)'
