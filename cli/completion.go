package cli

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/cloud"
)

// The scripts ask micro itself for what may come next: `micro __complete WORDS…` prints a word a line.
// Where it knows none, files are proposed.
var completions = map[string]string{
	// Bash cuts words behind = and before @, and replaces what stands behind the last cut.
	"bash": `_micro() {
  local IFS=$'\n' line=${COMP_LINE:0:COMP_POINT} head=
  local -a words
  IFS=$' \t\n' read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  COMPREPLY=($(micro __complete "${words[@]:1}" 2>/dev/null))
  local word=${words[${#words[@]}-1]}
  [[ $COMP_WORDBREAKS == *=* ]] && head=${word%"${word##*=}"}
  word=${word#"$head"}
  [[ $COMP_WORDBREAKS == *@* && $word == *@* ]] && head+=${word%@*}
  COMPREPLY=("${COMPREPLY[@]#"$head"}")
  [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -o default -F _micro micro
`,
	"zsh": `#compdef micro
_micro() {
  local -a found
  found=(${(f)"$(micro __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then
    compadd -- $found
  else
    _files
  fi
}
compdef _micro micro
`,
	"fish": `function __micro_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (micro __complete $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    string join \n -- $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c micro -f -a '(__micro_complete)'
`,
	"powershell": `Register-ArgumentCompleter -Native -CommandName micro -ScriptBlock {
  param($word, $ast, $position)
  $words = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
  if ($word -eq '') { $words += '' }
  micro __complete @words 2>$null | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
}
`,
}

func (c *command) completion() *urfave.Command {
	cmd := c.new("completion", "bash|zsh|fish|powershell", "print a script that completes micro's commands", 1, 1, nil, func(u *urfave.Context) error {
		script, ok := completions[u.Args().First()]
		if !ok {
			return cloud.Errorf(cloud.Invalid, "no completion for shell %q", u.Args().First()).WithHint("bash, zsh, fish or powershell")
		}
		_, err := fmt.Fprint(c.Stdout, script)
		return err
	})
	return cmd
}
