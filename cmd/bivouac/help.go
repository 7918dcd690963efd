package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		DisableFlagsInUseLine: true,
		Short:                 "Explain a command",
		Long:                  `Explain a command, or list them all.`,
		Example:               `  bivouac help run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageErrorf("unknown command %q; \"bivouac help\" lists them", strings.Join(args, " "))
			}
			topic.InitDefaultHelpFlag() // cobra adds it to the command that it executes only
			topic.InitDefaultVersionFlag()
			return topic.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Root().Commands() {
				if len(args) == 0 && !c.Hidden {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// groups are the parts of the list of commands. What is in none comes last.
var groups = []struct{ title, verbs string }{
	{"Common Commands:", "run exec ps logs stop rm build pull push images"},
	{"Commands for Tests:", "test try checkpoint restore doctor"},
	{"Management Commands:", "builder container image snapshot system volume"},
	{"Commands for Containers:", "attach commit cp create diff export kill pause port rename restart start stats top unpause update wait"},
	{"Commands for Images:", "history import load login logout rmi save tag"},
}

func addGroups(root *cobra.Command) {
	groupOf := map[string]string{}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, verb := range strings.Fields(g.verbs) {
			groupOf[verb] = g.title
		}
	}
	for _, cmd := range root.Commands() {
		cmd.GroupID = groupOf[cmd.Name()]
	}
}
