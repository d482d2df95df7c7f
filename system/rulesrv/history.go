package rulesrv

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// historyClient asks hissrv for what points were.
type historyClient struct {
	endpoint string // http://host:port
	client   *http.Client
}

// historyTimeout bounds one question and its whole answer.
const historyTimeout = 30 * time.Second

func newHistoryClient(endpoint string) *historyClient {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &historyClient{endpoint: endpoint, client: &http.Client{Transport: transport, Timeout: historyTimeout}}
}

func (h *historyClient) close() { h.client.CloseIdleConnections() }

// past is one number of a point, which holds until the next one.
type past struct {
	Time  int64   `json:"time"` // Unix ms
	Value float64 `json:"value"`
}

// mostPast is the most numbers that one point may have in a replay.
const mostPast = 100_000

// read returns the numbers of a point in a span, from excluded till.
func (h *historyClient) read(ctx context.Context, point ems.PointRef, from, till time.Time) ([]past, error) {
	question, err := json.Marshal(map[string]any{
		"channel": point.Channel, "type": point.Type, "point": point.Point,
		"start": from.UnixMilli(), "stop": till.UnixMilli(), "limit": mostPast,
	})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.endpoint+"/api/history/query", bytes.NewReader(question))
	if err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "the address of hissrv, %q, cannot be used: %w", h.endpoint, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := h.client.Do(request)
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "hissrv does not answer at %s: %w; is it running, and is its url in site.yaml (HISSRV_URL) right?", h.endpoint, err)
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Points    []past `json:"points"`
			Truncated bool   `json:"truncated"`
		} `json:"data"`
		Error *struct {
			Code    ems.Code `json:"code"`
			Message string   `json:"message"`
		} `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "hissrv answered %s with what is not its JSON: %w", response.Status, err)
	}
	if answer.Error != nil {
		return nil, ems.Errorf(answer.Error.Code, "history of %s: %s", point, answer.Error.Message)
	}
	if answer.Data.Truncated {
		return nil, ems.Errorf(ems.CodeInvalid, "%s has more than %d values in that span: replay a shorter one", point, mostPast)
	}
	return answer.Data.Points, nil
}
