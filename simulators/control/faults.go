package control

import (
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/simulators/fault"
	"github.com/voltageems/voltageems-go/system/ems"
)

func (a *api) faultKinds(c echo.Context) error { return succeed(c, fault.Kinds()) }

func (a *api) listFaults(c echo.Context) error { return succeed(c, a.faults.List()) }

func (a *api) inject(c echo.Context) error {
	var request fault.Fault
	if err := read(c, &request, mostBody, `{"device": "battery", "kind": "silence", "duration_s": 60}`); err != nil {
		return err
	}
	if request.ID != 0 {
		return ems.Errorf(ems.CodeInvalid, "id: it is given by the plant, leave it out")
	}
	injected, err := a.faults.Inject(request)
	if err != nil {
		return err
	}
	return succeed(c, injected)
}

func (a *api) clear(c echo.Context) error {
	id, err := strconv.ParseUint(c.Param("id"), 10, 64)
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "%q is no number of a fault", c.Param("id"))
	}
	cleared, err := a.faults.Clear(id)
	if err != nil {
		return err
	}
	return succeed(c, cleared)
}

func (a *api) clearAll(c echo.Context) error {
	cleared, err := a.faults.ClearAll()
	if err != nil {
		return err
	}
	return succeed(c, map[string]any{"cleared": cleared})
}
