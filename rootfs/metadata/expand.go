package metadata

import (
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Expand replaces the variables of an instruction by those of env: all but those of ARG, which come one after the other, and
// of the command lines that a shell will see. What a variable stands for may be several ports of EXPOSE. Unknown are the
// variables that env does not have.
//
// Errors: a variable that is written wrongly, or that the instruction says must be set.
func Expand(command instructions.Command, lex *shell.Lex, env shell.EnvGetter) (unknown map[string]struct{}, err error) {
	switch command := command.(type) {
	case *instructions.ArgCommand:
		return nil, nil
	case *instructions.ExposeCommand:
		return nil, expandPorts(command, lex, env)
	case instructions.SupportsSingleWordExpansion:
		unknown = map[string]struct{}{}
		return unknown, command.Expand(func(word string) (string, error) {
			text, unmatched, err := lex.ProcessWord(word, env)
			for name := range unmatched {
				unknown[name] = struct{}{}
			}
			return text, err
		})
	}
	return nil, nil
}

func expandPorts(command *instructions.ExposeCommand, lex *shell.Lex, env shell.EnvGetter) error {
	var ports []string
	for _, text := range command.Ports {
		words, err := lex.ProcessWords(text, env)
		if err != nil {
			return err
		}
		ports = append(ports, words...)
	}
	command.Ports = ports
	return nil
}
