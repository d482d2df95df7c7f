package rtdb

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// libraryCodes are the first words with which a function refuses.
var libraryCodes = map[string]ems.Code{
	"INVALID": ems.CodeInvalid, "NOT_FOUND": ems.CodeNotFound, "CONFLICT": ems.CodeConflict,
	"STALE": ems.CodeStale, "EXPIRED": ems.CodeExpired, "FULL": ems.CodeFull,
}

var assembledLine = regexp.MustCompile(`user_function:(\d+):|@user_function:(\d+)`)

// replyError maps an error reply: refusals of the library keep their code and
// text, refusals of Redis say what to do about them.
func (c *Client) replyError(call string, reply redis.Error) error {
	text := reply.Error()
	word, rest, _ := strings.Cut(text, " ")
	if code, ok := libraryCodes[word]; ok {
		return ems.Errorf(code, "%s", rest)
	}
	switch {
	case reply == redis.Nil:
		return ems.Errorf(ems.CodeNotFound, "%s: nothing there", call)
	case strings.Contains(text, "Function not found"):
		return ems.Errorf(ems.CodeUnavailable, "redis does not hold function %s: run `voltage functions load`", call)
	case word == "OOM":
		return ems.Errorf(ems.CodeFull, "redis is at its memory limit and refused %s: raise maxmemory or free memory", call)
	case word == "NOAUTH", word == "WRONGPASS", word == "NOPERM":
		return ems.Errorf(ems.CodeDenied, "redis refused the credentials for %s (%s): check user and password in redis_url", call, text)
	case word == "LOADING", word == "BUSY", word == "MASTERDOWN", word == "READONLY", word == "CLUSTERDOWN", word == "TRYAGAIN",
		word == "MISCONF", word == "NOREPLICAS", strings.HasPrefix(text, "ERR max number of clients reached"):
		return ems.Errorf(ems.CodeUnavailable, "redis cannot serve %s now: %w", call, reply)
	}
	return ems.Errorf(ems.CodeInternal, "%s failed in redis: %s", call, c.sourceLines(text))
}

// sourceLines replaces line numbers of the assembled library by file and line
// of the source.
func (c *Client) sourceLines(text string) string {
	return assembledLine.ReplaceAllStringFunc(text, func(match string) string {
		groups := assembledLine.FindStringSubmatch(match)
		number, err := strconv.Atoi(groups[1] + groups[2])
		if err != nil {
			return match
		}
		at := c.library.Source(number)
		if strings.HasPrefix(match, "@") {
			return at
		}
		return at + ":"
	})
}
