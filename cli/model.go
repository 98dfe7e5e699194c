package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/tfgo"
)

// inspectModel reads the flags that every command with a model takes, and looks
// at the model's files: --model must have the signatures that the command will
// call. Nothing has been loaded yet.
func inspectModel(c *cli.Context, signatures ...string) (*savedmodel.Info, tfgo.Options, error) {
	if err := needFlag(c, modelFlag); err != nil {
		return nil, tfgo.Options{}, err
	}
	session, err := sessionOptions(c)
	if err != nil {
		return nil, session, err
	}
	info, err := savedmodel.Inspect(c.String(modelFlag.Name))
	if err != nil {
		return nil, session, err
	}
	for _, name := range signatures {
		if _, ok := info.Signature(name); !ok {
			return nil, session, fmt.Errorf("%s has no %q signature, only %s: export it with `residual export`",
				info.Dir, name, orNone(strings.Join(info.SignatureNames(), ", ")))
		}
	}
	return info, session, nil
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
