package rtdb_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind says which texts an argument may be. It is written down a second time
// here, on purpose: what the library takes is held against it, both ways.
type kind struct {
	what  string
	legal func(text string) bool
}

func matching(what, pattern string) kind {
	return kind{what, regexp.MustCompile(`^(?s:` + pattern + `)$`).MatchString}
}

func oneOf(words ...string) kind {
	return kind{"one of " + strings.Join(words, ", "), func(text string) bool { return slices.Contains(words, text) }}
}

// numberID is a channel or a point: written in one way only, as it becomes a
// part of a key.
func numberID() kind {
	return kind{"a number from 1 to 4294967295 without leading zeros", func(text string) bool {
		number, err := strconv.ParseUint(text, 10, 32)
		return err == nil && number > 0 && strconv.FormatUint(number, 10) == text
	}}
}

func pointType() kind { return oneOf("T", "S", "C", "A") }

func anID() kind { return idUpTo(64) }

// commandID also has room for the ids that rules give.
func commandID() kind { return idUpTo(100) }

func idUpTo(most int) kind {
	return matching("an id", fmt.Sprintf(`[A-Za-z0-9][A-Za-z0-9_.-]{0,%d}`, most-1))
}

// decimal may have zeros in front and any number of decimals: it is the same
// number, and nobody takes it for a part of a key.
func decimal() kind {
	form := regexp.MustCompile(`^-?[0-9]+\.?[0-9]*$`)
	return kind{"a plain decimal that is finite", func(text string) bool {
		if len(text) > 330 || !form.MatchString(text) {
			return false
		}
		value, err := strconv.ParseFloat(text, 64)
		return err == nil && !math.IsInf(value, 0)
	}}
}

// milliseconds are written in one way only, because they become part of JSON.
func milliseconds() kind { return matching("milliseconds without leading zeros", `0|[1-9][0-9]{0,14}`) }

func whole(least, most uint64) kind {
	return kind{fmt.Sprintf("a whole number from %d to %d without leading zeros", least, most), func(text string) bool {
		number, err := strconv.ParseUint(text, 10, 64)
		return err == nil && least <= number && number <= most && strconv.FormatUint(number, 10) == text
	}}
}

// words may have several lines and tabs, and is never a part of a key.
func words(least, most int) kind {
	return kind{fmt.Sprintf("%d to %d bytes of text, without control characters but tab and newline", least, most), func(text string) bool {
		return least <= len(text) && len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool {
			return r != '\t' && r != '\n' && (r < ' ' || r == 0x7f)
		})
	}}
}

// line is words that fit on one line.
func line(least, most int) kind {
	return kind{fmt.Sprintf("%d to %d bytes of text on one line, without control characters", least, most), func(text string) bool {
		return words(least, most).legal(text) && !strings.ContainsAny(text, "\t\n")
	}}
}

// historyName is what line protocol can escape.
func historyName(reserved ...string) kind {
	return kind{"1 to 100 bytes without control characters and backslashes", func(name string) bool {
		return words(1, 100).legal(name) && !strings.ContainsAny(name, "\\\t\n") && !slices.Contains(reserved, name)
	}}
}

func entry() kind { return matching("an entry of a stream", `[0-9]{1,19}-[0-9]{1,19}`) }

func quality() kind { return oneOf("", "uncertain", "stale", "bad") }

func optional(k kind) kind {
	return kind{"empty or " + k.what, func(text string) bool { return text == "" || k.legal(text) }}
}

// anyText is kept as far as it goes, with '?' for what cannot be shown: a report
// is not refused for its form.
func anyText() kind { return kind{"any text", func(string) bool { return true }} }

// document is JSON whose contents decide, which examples show: here it may only
// have white space around it.
func document(sound string) kind {
	return kind{"a JSON document", func(text string) bool { return strings.Trim(text, " \t\r\n") == sound }}
}

// anyName is the name in KEYS[1] of a function that needs none.
func anyName() kind {
	return matching("a name of 1 to 256 bytes without control characters and braces", `[^\x00-\x1f\x7f{}]{1,256}`)
}

// nonsense is what people, programs and attackers put in the place of a sound
// text. Some of it is legal for some kinds.
func nonsense(sound string) []string {
	return []string{
		"", "x", "true", "null", "[]", "{}", `"`, `{"id":`, strings.Repeat("[", 5000),
		"nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e400", "1e5", "1E5", "0x10", "0b1", "1_000", "+1", "--1", "-", ".", ".5", "5.", "1.5", "1,5",
		"-1", "-0", "0", "00", "01", "000" + sound, "-" + sound,
		"4294967295", "4294967296", "9999999999", "99999999999", "9007199254740993", "99999999999999999999", "99999999999999999999-1", "1-99999999999999999999",
		strings.Repeat("9", 308), strings.Repeat("9", 309), "1" + strings.Repeat("0", 308), strings.Repeat("9", 320), strings.Repeat("9", 400), strings.Repeat("9", 1<<20), strings.Repeat("x", 1<<20),
		strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("a", 201), strings.Repeat("a", 2001),
		"a:b", ":", sound + ":", ":" + sound, "{a}", "{a}:b", "{", "}", sound + "{", sound + "}", "a b", " " + sound, sound + " ",
		"\n", sound + "\n", "\n" + sound, sound + "\r\n-ERR forged", "\t", sound + "\t", "\x00", sound + "\x00", "\x00" + sound, "\x01", "\x1b[31mred", "\x7f", sound + "\x7f",
		"é", "\xff\xfe", "*", "?", "[a]", "%s", "%d%n", "a/b", "..", "-a", "_a", ".a", "a;b", "'", "\\",
		"comsrv:1001:T", "comsrv:0:T", "comsrv:01:T", "comsrv:1001:X", "comsrv:99999999999:T", "comsrv:1001:T:1", "comsrv:1001:T\n", "Critical", "critical", "T", "C", "t",
	}
}
