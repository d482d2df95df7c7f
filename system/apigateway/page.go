package apigateway

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"path"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

//go:embed index.html page.js page.css icon.svg
var assets embed.FS

// renderPage writes the name of the site into the page.
func renderPage(site *config.Site) ([]byte, error) {
	page, err := template.ParseFS(assets, "index.html")
	if err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "the page is not a template: %w", err)
	}
	var text bytes.Buffer
	if err := page.Execute(&text, map[string]string{"Site": site.Name}); err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "the page cannot be written: %w", err)
	}
	return text.Bytes(), nil
}

// contentPolicy lets the page use what this server sends, and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var contentTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

func (s *Service) servePage(c echo.Context) error {
	protect(c)
	return c.HTMLBlob(http.StatusOK, s.page)
}

func (s *Service) serveAsset(c echo.Context) error {
	name := path.Base(c.Path())
	text, err := assets.ReadFile(name)
	if err != nil {
		return ems.Errorf(ems.CodeInternal, "the asset is missing: %w", err)
	}
	protect(c)
	return c.Blob(http.StatusOK, contentTypes[path.Ext(name)], text)
}

func protect(c echo.Context) {
	header := c.Response().Header()
	header.Set("Content-Security-Policy", contentPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-cache") // a new release must not meet an old script
}
