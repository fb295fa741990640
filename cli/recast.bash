# bash completion for recast: commands, then the options that `recast COMMAND --help` lists and devices, then files.
_recast() {
    local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "init build pin convert edit inspect compare validate run eval sweep tokenize package unpack sign publish launch --help --version" -- "$current"))
    elif [ "${COMP_WORDS[COMP_CWORD-1]}" = --device ]; then
        COMPREPLY=($(compgen -W "auto cpu cuda" -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE '\-\-[a-z-]+')" -- "$current"))
    fi # else nothing: bash's own completion of files, which knows blanks and ~
}
complete -o default -F _recast recast
