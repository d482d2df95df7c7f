package netsrv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/voltageems/voltageems-go/system/ems"
)

// answerBytes are read of an answer, so that the connection can be used again.
const answerBytes = 64 << 10

// post is the way to one URL.
type post struct {
	url           string // with credentials
	authorization string // of the header of that name; empty for none
	client        *http.Client
}

func newPost(url, authorization string, timeout time.Duration) post {
	return post{url: url, authorization: authorization, client: &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: timeout,
		// The credentials are meant for the target alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (p *post) close() { p.client.CloseIdleConnections() }

// send sends a JSON body once. Its error is INVALID when sending it again cannot
// help, INTERNAL when the other side failed at it, and else UNAVAILABLE.
func (p *post) send(ctx context.Context, body []byte, header http.Header) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "the target is not a URL")
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json")
	if p.authorization != "" {
		request.Header.Set("Authorization", p.authorization)
	}
	response, err := p.client.Do(request)
	if err != nil {
		// The text of a url.Error holds the URL, and with it credentials.
		var located *url.Error
		if errors.As(err, &located) {
			err = located.Err
		}
		return ems.Errorf(ems.CodeUnavailable, "no answer: %w", err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, answerBytes))
	return verdict(response)
}

// verdict says what an answer means. What is wrong with an address or with
// credentials can be mended while the sender waits.
func verdict(response *http.Response) error {
	switch status := response.StatusCode; status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return ems.Errorf(ems.CodeUnavailable, "the target answered %s", response.Status)
	case http.StatusInternalServerError:
		return ems.Errorf(ems.CodeInternal, "the target answered %s", response.Status)
	default:
		switch {
		case status >= 200 && status < 300:
			return nil
		case status >= 400 && status < 500:
			return ems.Errorf(ems.CodeInvalid, "the target refused it: %s", response.Status)
		}
		return ems.Errorf(ems.CodeUnavailable, "the target answered %s", response.Status)
	}
}

// newPauses returns the pauses between attempts: any length up to a bound that
// doubles from one second to a minute (full jitter), so that many sites do not
// come back together.
func newPauses() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 500 * time.Millisecond, Multiplier: 2, RandomizationFactor: 1, MaxInterval: 30 * time.Second,
	}
}

// withoutCredentials returns a URL without user, password and query, which may
// hold a token. INVALID when it is none.
func withoutCredentials(target string) (string, error) {
	parsed, err := url.Parse(target)
	if err != nil {
		return "", ems.Errorf(ems.CodeInvalid, "forward.yaml: a target is not a URL")
	}
	parsed.User, parsed.RawQuery, parsed.Fragment = nil, "", ""
	return parsed.String(), nil
}
