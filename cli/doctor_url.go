package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"
)

const urlName = "url"

// askTimeout is how long a server that is well may take to say so.
const askTimeout = 5 * time.Second

// askServer asks a server whether it is well, as the health checks of containers do
// where there is no curl.
func askServer(c *cli.Context, text string) error {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" {
		return usagef(c, "--%s must be such as http://localhost:8501/readyz, not %q", urlName, text)
	}
	if strings.Trim(address.Path, "/") == "" {
		address.Path = "/readyz"
	}
	text = address.Redacted()
	request, err := http.NewRequestWithContext(c.Context, http.MethodGet, address.String(), nil)
	if err != nil {
		return usagef(c, "--%s: %v", urlName, err)
	}
	begun := time.Now()
	answer, err := (&http.Client{Timeout: askTimeout}).Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // it names the URL once more
		}
		return fmt.Errorf("ask %s: %w", text, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("ask %s: %w", text, err)
	}
	said := strings.Map(func(r rune) rune { // what a terminal would act on is none of the server's business
		if unicode.IsControl(r) && r != '\n' {
			return -1
		}
		return r
	}, strings.TrimSpace(string(body)))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: it answers %s: %s", text, answer.Status, oneLine(said))
	}
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"url": text, "status": answer.StatusCode, "seconds": time.Since(begun).Seconds()})
	}
	return printLine(c, "%s: %s", text, answer.Status)
}
