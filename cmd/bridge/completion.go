package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

// The shells ask the program itself for words, by running it with completionFlag last.
const (
	bashCompletion = `_bridge() {
  local words
  words=$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _bridge bridge
`
	zshCompletion = `#compdef bridge
_bridge() {
  local -a options
  options=("${(@f)$(${words[@]:0:$((CURRENT-1))} --generate-bash-completion 2>/dev/null)}")
  compadd -- ${options[@]}
}
compdef _bridge bridge
`
)

func (a *app) completionCommand() *cli.Command {
	return command(cli.Command{
		Name:      "completion",
		Usage:     "print what makes a shell complete bridge's commands",
		ArgsUsage: "SHELL",
		Description: `SHELL is bash, zsh or fish.

Examples:
   source <(bridge completion bash)
   bridge completion zsh > "${fpath[1]}/_bridge"
   bridge completion fish > ~/.config/fish/completions/bridge.fish`,
	}, func(c *cli.Context) error {
		var script string
		var err error
		switch shell := c.Args().First(); shell {
		case "bash":
			script = bashCompletion
		case "zsh":
			script = zshCompletion
		case "fish":
			script, err = c.App.ToFishCompletion()
		default:
			err = usage(fmt.Errorf("shell %q is not bash, zsh or fish", shell))
		}
		if err != nil {
			return err
		}
		a.answer = &answer{
			result: struct {
				Script string `json:"script"`
			}{script},
			text: func(w io.Writer) error { _, err := io.WriteString(w, script); return err },
		}
		return nil
	})
}
