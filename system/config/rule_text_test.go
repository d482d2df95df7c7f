package config

import "testing"

// What the check lets through, the alarm service and Redis take as well.
func TestTitlesOfRulesAreOneLineOfText(t *testing.T) {
	t.Parallel()
	for text, sound := range map[string]bool{
		"Zelle heiß": true, "a\nb": false, "a\tb": false, "a\x7f": false, "a\u0085b": false, "a\xffb": false,
	} {
		if err := checkParam("title", text); (err == nil) != sound {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := checkParam("description", "a\nb\tc"); err != nil {
		t.Error(err)
	}
}
