# bash completion for recast: commands, then the options that `recast COMMAND --help` lists and their words, then files.
_recast() {
    local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=
    COMPREPLY=()
    case ${COMP_WORDS[COMP_CWORD-1]} in
    --device) words="auto cpu cuda" ;;
    --engine) words="llama.cpp text-generation-webui vllm sglang transformers ollama" ;;
    --progress) words="line json none" ;;
    --kv) words="f16 f32 q8_0" ;;
    --activations) words="q8 f32" ;;
    esac
    if [ "$COMP_CWORD" = 1 ] || [ "$COMP_CWORD$command" = 2help ]; then
        COMPREPLY=($(compgen -W "init build pin convert edit inspect compare validate run eval sweep tokenize package unpack sign publish launch help --help --version" -- "$current"))
    elif [ "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE '\-\-[a-z-]+')" -- "$current"))
    fi # else nothing: bash's own completion of files, which knows blanks and ~
}
complete -o default -F _recast recast
