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
	case word == "NOAUTH", word == "WRONGPASS":
		return ems.Errorf(ems.CodeDenied, "redis refused the credentials for %s (%s): check user and password in redis_url", call, text)
	case word == "NOPERM" && strings.HasPrefix(call, "FUNCTION "):
		return ems.Errorf(ems.CodeDenied, "the redis user may not do %s (%s): services never hold that right; "+
			"run `voltage functions load` as the user loader of system/deploy/users.acl, redis://loader:password@host:port", call, text)
	case word == "NOPERM", strings.Contains(text, "The user executing the script"), strings.Contains(text, "ACL failure in script"):
		return ems.Errorf(ems.CodeDenied, "the redis user may not do %s (%s): give it the rights of the user voltage of system/deploy/users.acl", call, text)
	case strings.Contains(text, "cluster support disabled"):
		return ems.Errorf(ems.CodeUnavailable, "redis is not a cluster: write redis://host:port in redis_url (VOLTAGE_REDIS_URL)")
	case c.cluster == nil && (word == "MOVED" || word == "ASK" || word == "TRYAGAIN"):
		return oneOfCluster()
	case c.cluster != nil && word != "CLUSTERDOWN" && isMoving(reply):
		return ems.Errorf(ems.CodeUnavailable, "redis is moving the slot of the site to another master and cannot serve %s now: %w", call, reply)
	case word == "LOADING", word == "BUSY", word == "MASTERDOWN", word == "READONLY", word == "CLUSTERDOWN", word == "UNBLOCKED",
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
