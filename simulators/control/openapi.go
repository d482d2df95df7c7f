package control

import (
	_ "embed" // for the description of the API
	"net/http"

	"github.com/labstack/echo/v4"
)

//go:embed openapi.yaml
var openAPIText []byte

func openAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", openAPIText)
}
