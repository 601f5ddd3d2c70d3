package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"
)

// Help writes the help of the whole command line, or of the command that path names. It is what
// --help prints, and what docs/cli.md has.
func Help(path ...string) (string, bool) {
	app := new(command).app()
	if len(path) == 0 {
		return appHelp(app), true
	}
	commands := app.Commands
	var cmd *urfave.Command
	for _, name := range path {
		if cmd = find(commands, name); cmd == nil {
			return "", false
		}
		commands = cmd.Subcommands
	}
	return commandHelp(strings.Join(path, " "), cmd), true
}

// Commands lists the paths of all commands, in the order of the help.
func Commands() (paths []string) {
	walk(new(command).app().Commands, "", func(path string, c *urfave.Command) {
		if len(c.Subcommands) == 0 || c.ArgsUsage != "" {
			paths = append(paths, path)
		}
	})
	return paths
}

// walk calls visit for all commands and those below them, with their paths.
func walk(commands []*urfave.Command, above string, visit func(path string, c *urfave.Command)) {
	for _, c := range commands {
		path := strings.TrimSpace(above + " " + c.Name)
		visit(path, c)
		walk(c.Subcommands, path, visit)
	}
}

// explain gives every command the text that its --help prints.
func explain(app *urfave.App) *urfave.App {
	app.CustomAppHelpTemplate = verbatim(appHelp(app))
	walk(app.Commands, "", func(path string, c *urfave.Command) { c.CustomHelpTemplate = verbatim(commandHelp(path, c)) })
	return app
}

// verbatim is the template that prints a text as it is.
func verbatim(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }

func appHelp(app *urfave.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "micro is %s.\n\nusage: micro COMMAND [flags] [arguments]\n", app.Usage)
	category := ""
	for _, c := range app.Commands {
		if c.Category != category {
			category = c.Category
			fmt.Fprintf(&b, "\n%s\n", category)
		}
		fmt.Fprintf(&b, "  %-11s %s\n", c.Name, c.Usage)
	}
	b.WriteString(`
Flags stand before or after arguments, short ones combine, and everything after -- goes to the command.
MICRO_TARGET selects the node (default unix:///var/lib/micro/micro.sock), MICRO_GROUP the group.
micro COMMAND --help tells more of a command.
`)
	return b.String()
}

func commandHelp(path string, c *urfave.Command) string {
	var b strings.Builder
	usage := "usage: micro " + path
	if len(c.Subcommands) > 0 && c.ArgsUsage == "" {
		usage += " COMMAND"
	}
	if len(c.Flags) > 0 {
		usage += " [flags]"
	}
	fmt.Fprintf(&b, "%s\n\n%s.\n", strings.TrimSpace(usage+" "+c.ArgsUsage), capital(c.Usage))
	if text := description(path); text != "" {
		b.WriteString("\n" + text + "\n")
	}
	var rows [][2]string
	for _, sub := range c.Subcommands {
		rows = append(rows, [2]string{"  " + sub.Name + " " + sub.ArgsUsage, sub.Usage})
	}
	for _, f := range c.Flags {
		rows = append(rows, [2]string{flagNames(f), flagUsage(f)})
	}
	width := 0
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r[0]))
	}
	for i, r := range rows {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s%s  %s\n", r[0], strings.Repeat(" ", width-utf8.RuneCountInString(r[0])), r[1])
	}
	return b.String()
}

// flagNames is "  -e, --env KEY=VALUE".
func flagNames(f urfave.Flag) string {
	text := "      --" + f.Names()[0]
	if names := flagNamesOf(f); len(names) > 1 {
		text = fmt.Sprintf("  -%s, --%s", names[1], names[0])
	}
	if placeholder, _ := split(f); placeholder != "" {
		text += " " + placeholder
	}
	return text
}

func flagUsage(f urfave.Flag) string {
	_, usage := split(f)
	return usage
}

// split cuts a flag's usage into what stands for its value, which is written in quotes “ there, and
// the text.
func split(f urfave.Flag) (placeholder, usage string) {
	d, ok := f.(urfave.DocGenerationFlag)
	if !ok {
		return "", ""
	}
	usage = d.GetUsage()
	if _, rest, ok := strings.Cut(usage, "`"); ok {
		placeholder, _, _ = strings.Cut(rest, "`")
	}
	return placeholder, strings.ReplaceAll(usage, "`", "")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
