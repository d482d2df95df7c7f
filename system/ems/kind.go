package ems

import (
	"fmt"
	"math"
	"reflect"
	"time"
)

// KindText names for people what is expected where a value of that type is read.
func KindText(kind reflect.Type) string {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	switch kind.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a finite number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	switch {
	case kind == reflect.TypeFor[time.Duration]():
		return "a time with its unit (500ms, 60s, 24h)"
	case kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Uint64 && kind.Bits() == 64:
		return "a whole number of at most 64 bits"
	case kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Int64:
		return fmt.Sprintf("a whole number from %d to %d", int64(math.MinInt64)>>(64-kind.Bits()), int64(math.MaxInt64)>>(64-kind.Bits()))
	case kind.Kind() >= reflect.Uint && kind.Kind() <= reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-kind.Bits()))
	default:
		return "another value"
	}
}
