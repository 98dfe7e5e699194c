package serving

import (
	_ "embed" // the page
	"net/http"
)

//go:embed page.html
var pageHTML []byte

// page answers with a page that asks :classify. It needs nothing from elsewhere.
func (s *Server) page(x *exchange, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.fail(x, errMethod)
		return
	}
	x.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	x.Header().Set("Cache-Control", "no-cache")
	write(x, http.StatusOK, "text/html; charset=utf-8", pageHTML)
}
