package hissrv

import (
	"strconv"
	"strings"
	"testing"
)

// FuzzFluxString reads a quoted text back by the rules of the Flux grammar.
func FuzzFluxString(f *testing.F) {
	for _, seed := range []string{"", "power", `a"b`, `a\`, `\"`, "${x}", "a\nb", "é ü", "\x00\x7f\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted := fluxString(text)
		inner, ok := strings.CutPrefix(quoted, `"`)
		if !ok || !strings.HasSuffix(inner, `"`) {
			t.Fatalf("%q is not in quotes", quoted)
		}
		inner = strings.TrimSuffix(inner, `"`)
		var read []byte
		for i := 0; i < len(inner); i++ {
			switch {
			case inner[i] == '"' || inner[i] == '$' || inner[i] < ' ':
				t.Fatalf("%q holds %q as it is", quoted, inner[i])
			case inner[i] == '\\':
				if len(inner) < i+4 || inner[i+1] != 'x' {
					t.Fatalf("%q holds an unknown escape", quoted)
				}
				value, err := strconv.ParseUint(inner[i+2:i+4], 16, 8)
				if err != nil {
					t.Fatal(err)
				}
				read = append(read, byte(value))
				i += 3
			default:
				read = append(read, inner[i])
			}
		}
		if string(read) != text {
			t.Fatalf("%q reads as %q", quoted, read)
		}
	})
}
