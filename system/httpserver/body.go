package httpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Body decodes the JSON body into the value that into points to. An unknown
// field is an error: a misspelt one would otherwise be lost in silence. So is
// whatever follows the value. What is of another kind than expected is told with
// its place.
func Body(c echo.Context, into any) error {
	if kind := c.Request().Header.Get(echo.HeaderContentType); kind != "" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != echo.MIMEApplicationJSON {
			return ems.Errorf(ems.CodeInvalid, "content type %q is not application/json", kind)
		}
	}
	var text bytes.Buffer
	decoder := json.NewDecoder(io.TeeReader(c.Request().Body, &text))
	decoder.DisallowUnknownFields()
	var tooLarge *echo.HTTPError
	if err := decoder.Decode(into); errors.As(err, &tooLarge) {
		return err
	} else if errors.Is(err, io.EOF) {
		return ems.Errorf(ems.CodeInvalid, "the body is empty: send JSON, %s", described(reflect.TypeOf(into)))
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		return ems.Errorf(ems.CodeInvalid, "the body is not the JSON that is expected: it ends in the middle, after %d bytes", text.Len())
	} else if err != nil {
		return ems.Errorf(ems.CodeInvalid, "the body is not the JSON that is expected: %w", placed(err, text.Bytes()))
	}
	if _, err := decoder.Token(); errors.As(err, &tooLarge) {
		return err
	} else if !errors.Is(err, io.EOF) {
		return ems.Errorf(ems.CodeInvalid, "the body holds more than one JSON value")
	}
	if !utf8.Valid(text.Bytes()) { // the decoder would put other characters in the place of these
		return ems.Errorf(ems.CodeInvalid, "the body is not valid UTF-8")
	}
	return nil
}

// described says what kind of value is expected, and of an object which fields there
// are: "an object of by, occurrence".
func described(kind reflect.Type) string {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	var names []string
	if kind.Kind() == reflect.Struct {
		for _, field := range reflect.VisibleFields(kind) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && name != "-" {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return ems.KindText(kind)
	}
	return ems.KindText(kind) + " of " + strings.Join(names, ", ")
}

// placed says of a value that is of another kind than expected where it stands,
// for example "conditions[1].operator: number where a text is expected". Other
// errors stay as they are.
func placed(err error, text []byte) error {
	var misfit *json.UnmarshalTypeError
	if !errors.As(err, &misfit) {
		return err
	}
	offset := misfit.Offset
	if misfit.Value != "array" && misfit.Value != "object" {
		offset-- // of a scalar it may be that of the character behind
	}
	where := misfit.Field // without indexes
	if path := pathAt(text, offset); leadsTo(path, misfit.Field) {
		where = ems.PathText(path)
	}
	if where != "" {
		where += ": "
	}
	return fmt.Errorf("%s%s where %s is expected", where, misfit.Value, ems.KindText(misfit.Type))
}

// leadsTo reports whether a path goes through the fields that the decoder names,
// which may begin with a type that is embedded. A type that reads itself counts
// from its own beginning, which leads elsewhere.
func leadsTo(path []any, field string) bool {
	names := ems.PathText(slices.DeleteFunc(slices.Clone(path), func(step any) bool { _, isIndex := step.(int); return isIndex }))
	return field == "" || strings.HasPrefix(names+".", field+".") || names != "" && strings.HasSuffix(field, "."+names)
}

// pathAt returns the names and indexes that lead to the value that is read when
// so many bytes of a document are.
func pathAt(text []byte, offset int64) []any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // one that is too large is no fault here
	var path []any      // of the value that comes next; in an object the name follows
	var named bool      // the name has come
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil
		}
		delimiter, _ := token.(json.Delim)
		closes := delimiter == ']' || delimiter == '}'
		if len(path) > 0 && !named && !closes {
			if _, inObject := path[len(path)-1].(string); inObject {
				path[len(path)-1], named = token, true
				continue
			}
		}
		if closes {
			path = path[:len(path)-1]
		} else if decoder.InputOffset() >= offset {
			return path
		}
		named = false
		switch {
		case delimiter == '{':
			path = append(path, "")
			continue
		case delimiter == '[':
			path = append(path, 0)
			continue
		case len(path) == 0:
			return nil
		}
		if index, inList := path[len(path)-1].(int); inList {
			path[len(path)-1] = index + 1
		}
	}
}
