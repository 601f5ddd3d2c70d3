package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/cloud"
)

// The scripts ask micro itself for what may come next: `micro __complete WORDS…` prints a word a line.
var completions = map[string]string{
	"bash": `_micro() {
  local IFS=$'\n'
  COMPREPLY=($(micro __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _micro micro
`,
	"zsh": `#compdef micro
_micro() {
  local -a found
  found=("${(@f)$(micro __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -- $found
}
compdef _micro micro
`,
	"fish": `function __micro_complete
  set -l words (commandline -opc) (commandline -ct)
  micro __complete $words[2..-1] 2>/dev/null
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

// complete prints what may come next after the words of a command line, the last of which is begun.
func (c *command) complete(ctx context.Context, app *urfave.App, words []string) {
	if len(words) == 0 {
		return
	}
	begun := words[len(words)-1]
	commands, flags := app.Commands, app.Flags
	var cmd *urfave.Command
	for _, w := range words[:len(words)-1] {
		next := find(commands, w)
		if next == nil {
			break
		}
		cmd, commands, flags = next, next.Subcommands, next.Flags
	}
	var found []string
	switch {
	case strings.HasPrefix(begun, "-"):
		for _, f := range flags {
			for _, name := range f.Names() {
				if len(name) > 1 {
					found = append(found, "--"+name)
				}
			}
		}
	case len(commands) > 0:
		for _, sub := range commands {
			found = append(found, sub.Name)
		}
	case cmd != nil && strings.Contains(cmd.ArgsUsage, "APP"):
		found = c.appNames(ctx)
	case cmd != nil && cmd.Name == "completion":
		found = sorted(completions)
	}
	for _, f := range found {
		if strings.HasPrefix(f, begun) {
			c.print("%s", f)
		}
	}
}

// appNames are those of the group's apps; none where no node answers soon.
func (c *command) appNames(ctx context.Context) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	client, err := c.client()
	if err != nil {
		return nil
	}
	defer client.Close()
	group := cloud.DefaultGroup
	if g, ok := c.Env("MICRO_GROUP"); ok && g != "" {
		group = cloud.GroupName(g)
	}
	apps, err := client.Apps(ctx, group)
	if err != nil {
		return nil
	}
	for _, a := range apps {
		names = append(names, string(a.Name))
	}
	return names
}
