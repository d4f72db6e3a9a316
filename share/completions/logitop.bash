# bash completion for logitop. Commands, options and models come from the program itself, so they are always its own.
_logitop() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} at=$COMP_CWORD
    local command=${COMP_WORDS[1]} commands help before
    # bash breaks words at : and =, which names of models and --option=value have
    while ((at > 1)) && [[ ${COMP_WORDS[at]} == : || ${COMP_WORDS[at - 1]} == : ]]; do
        word=${COMP_WORDS[--at]}$word
    done
    before=${COMP_WORDS[at - 1]}
    [[ $before == = ]] && before=${COMP_WORDS[at - 2]}
    [[ $word == = ]] && before=${COMP_WORDS[at - 1]} word=
    commands=$("$program" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
    case $before in
    --device) COMPREPLY=($(compgen -W "auto cpu cuda" -- "$word")) && return ;;
    --color | --bell) COMPREPLY=($(compgen -W "auto always never" -- "$word")) && return ;;
    --theme)
        COMPREPLY=($(compgen -W "auto dark light mono $(ls "${XDG_CONFIG_HOME:-$HOME/.config}/logitop/themes" /usr/{local/,}share/logitop/themes 2>/dev/null | sed -n 's/\.theme$//p')" -- "$word"))
        return
        ;;
    -m | --model)
        local IFS=$'\n'
        COMPREPLY=($(compgen -f -- "$word") $(compgen -W "$("$program" list 2>/dev/null | sed -n '2,$s/  .*//p')" -- "$word"))
        ((at == COMP_CWORD)) || COMPREPLY=("${COMPREPLY[@]#"${word%:*}:"}")
        return
        ;;
    --positions) COMPREPLY=($(compgen -W "all last" -- "$word")) && return ;;
    esac
    if [[ $word == -* ]]; then
        if [[ " $(echo $commands) " == *" $command "* ]]; then
            help=$("$program" "$command" --help 2>/dev/null)
        else
            help=$("$program" --help-all 2>/dev/null | sed '2,$ { /^Usage:/,$d }')
        fi
        COMPREPLY=($(compgen -W "$(sed -n 's/^ *\(-[a-z], \)\{0,1\}\(--[a-z-]*\).*/\2/p' <<<"$help")" -- "$word"))
        return
    fi
    COMPREPLY=($(compgen -f -- "$word"))
    if ((COMP_CWORD == 1)); then
        COMPREPLY+=($(compgen -W "$commands" -- "$word"))
    fi
}
complete -o filenames -F _logitop logitop
