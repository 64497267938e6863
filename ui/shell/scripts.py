"""What bash, zsh and fish evaluate to complete `pileus`."""

from __future__ import annotations

_BASH = r"""_pileus() {
    mapfile -t COMPREPLY < <(pileus __complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o nosort -F _pileus pileus
"""

_ZSH = r"""#compdef pileus
_pileus() {
    local text meta
    local -a whole whole_shown begun begun_shown
    while IFS=$'\t' read -r text meta; do
        if [[ $text == *= ]]; then
            begun+=("$text"); begun_shown+=("$text${meta:+  -- $meta}")
        else
            whole+=("$text"); whole_shown+=("$text${meta:+  -- $meta}")
        fi
    done < <(pileus __complete zsh "${BUFFER[1,CURSOR]}" 2>/dev/null)
    compadd -Q -U -l -d whole_shown -a whole
    compadd -Q -U -S '' -l -d begun_shown -a begun
}
compdef _pileus pileus
"""

_FISH = r"""complete -c pileus -f -a '(pileus __complete fish (commandline -cp) 2>/dev/null)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
