# fish completion for logitop. Commands, options and models come from the program itself, so they are always its own.
function __logitop_commands
    set -l words (commandline -opc)
    $words[1] --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z]*\)  *\(.*\)/\1\t\2/p'
end

function __logitop_options
    set -l words (commandline -opc)
    if contains -- "$words[2]" (__logitop_commands | string replace -r '\t.*' '')
        set help ($words[1] $words[2] --help 2>/dev/null)
    else
        set help ($words[1] --help-all 2>/dev/null | sed '2,$ { /^Usage:/,$d }')
    end
    printf '%s\n' $help | sed -n 's/^ *\(-[a-z], \)\{0,1\}\(--[a-z-]*\).\{0,1\}[^ ]*  *\(.*\)/\2\t\3/p'
end

function __logitop_models
    set -l words (commandline -opc)
    $words[1] list 2>/dev/null | sed -n '2,$s/  .*//p'
end

function __logitop_themes
    set -q XDG_CONFIG_HOME; and set -l config $XDG_CONFIG_HOME; or set -l config ~/.config
    printf '%s\n' auto dark light mono
    ls $config/logitop/themes /usr/{local/,}share/logitop/themes 2>/dev/null | sed -n 's/\.theme$//p'
end

function __logitop_after
    contains -- (commandline -opc)[-1] $argv
end

complete -c logitop -n '__fish_is_first_token' -a '(__logitop_commands)'
complete -c logitop -n 'string match -q -- "-*" (commandline -ct)' -f -a '(__logitop_options)'
complete -c logitop -n '__logitop_after -m --model' -a '(__logitop_models)'
complete -c logitop -n '__logitop_after --device' -f -a 'auto cpu cuda'
complete -c logitop -n '__logitop_after --color --bell' -f -a 'auto always never'
complete -c logitop -n '__logitop_after --theme' -f -a '(__logitop_themes)'
complete -c logitop -n '__logitop_after --positions' -f -a 'all last'
