package alarmsrv

import (
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// exportHeader names the columns of an export.
var exportHeader = []string{
	"id", "source", "rule", "level", "title", "description", "state", "value", "worst_value", "occurrences", "raised_at", "last_at", "cleared_at",
	"acknowledged_at", "acknowledged_by", "shelved_until", "shelved_by", "shelved_reason", "suppressed", "chattering", "escalated_from", "comments",
}

// exportAlarms streams what the filters of the list find as CSV (RFC 4180), newest
// first. ?limit= and ?after= are not for this.
func (s *Service) exportAlarms(c echo.Context) error {
	filter, err := readFilter(c)
	if err != nil {
		return err
	}
	if c.QueryParam("limit") != "" || c.QueryParam("after") != "" {
		return ems.Errorf(ems.CodeInvalid, "an export has no pages: leave limit and after out")
	}
	filter.Count = httpserver.LargestPage
	ctx := c.Request().Context()
	alarms, next, err := s.db.AlarmPage(ctx, filter)
	if err != nil {
		return err // as an envelope still
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/csv; charset=utf-8")
	header.Set(echo.HeaderContentDisposition, `attachment; filename="alarms.csv"`)
	header.Set("Cache-Control", "no-store")
	c.Response().WriteHeader(http.StatusOK)
	control := http.NewResponseController(c.Response())
	writer := csv.NewWriter(c.Response())
	writer.UseCRLF = true
	err = writer.Write(exportHeader)
	for err == nil {
		if err = writePage(control, writer, alarms); err != nil || next == "" {
			break
		}
		filter.After = next
		alarms, next, err = s.db.AlarmPage(ctx, filter)
	}
	if err != nil {
		s.logger.Warn("an export of alarms was cut short", "error", err)
		panic(http.ErrAbortHandler) // else what there is would pass for the whole
	}
	return nil
}

func writePage(control *http.ResponseController, writer *csv.Writer, alarms []ems.Alarm) error {
	if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	for i := range alarms {
		if err := writer.Write(exportRow(&alarms[i])); err != nil {
			return err
		}
	}
	writer.Flush()
	return writer.Error()
}

func exportRow(a *ems.Alarm) []string {
	var shelved ems.Shelving
	var until *time.Time
	if a.Shelved != nil {
		shelved, until = *a.Shelved, &a.Shelved.Until
	}
	return []string{
		a.ID, safeCell(a.Source), safeCell(a.Rule), string(a.Level), safeCell(a.Title), safeCell(a.Description), string(a.State),
		numberCell(a.Value), numberCell(a.Worst), strconv.FormatInt(a.Occurrences, 10), timeCell(&a.RaisedAt), timeCell(&a.LastAt), timeCell(a.ClearedAt),
		timeCell(a.Acknowledged), safeCell(a.AckedBy), timeCell(until), safeCell(shelved.By), safeCell(shelved.Reason),
		strconv.FormatBool(a.Suppressed), strconv.FormatBool(a.Chattering), string(a.EscalatedFrom), strconv.FormatInt(a.Comments, 10),
	}
}

// safeCell keeps a spreadsheet from taking a text for a formula.
func safeCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}

func numberCell(number *float64) string {
	if number == nil {
		return ""
	}
	return strconv.FormatFloat(*number, 'f', -1, 64)
}

func timeCell(at *time.Time) string {
	if at == nil || at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
