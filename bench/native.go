package bench

import (
	"context"
	"fmt"
	"strconv"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The native cases are what Redis does without the library: plain commands of
// the same size on hashes of the same size. What they send is made before the
// run, so that nothing but the exchange is measured.

// variants is how many batches of values follow each other, so that every value
// changes with every call.
const variants = 8

// nativeFields returns point and number in turn, as HSET takes them, for all
// points.
func nativeFields() ([][]any, error) {
	all := make([][]any, variants)
	for n := range all {
		for point := range points {
			text, err := ems.FormatNumber(number(n, point))
			if err != nil {
				return nil, err
			}
			all[n] = append(all[n], strconv.Itoa(point+1), text)
		}
	}
	return all, nil
}

func (s *server) nativeKey(lane, place int) string {
	return s.db.Namespace().Of(fmt.Sprintf("native:%d:%d", lane, place))
}

// nativeHSET writes a hash of 100 fields.
func (s *server) nativeHSET() workload {
	key := s.nativeKey(connections, 0)
	one := single(hsetCase, "hset", func(ctx context.Context, n int) error {
		return s.fault(s.raw.HSet(ctx, key, s.fields[n%variants]...).Err())
	})
	one.verify = func(ctx context.Context, _, n int) error { return s.verifyNative(ctx, key, n) }
	return one
}

// hashesPerExchange is how many hashes of 100 fields are written at once: as
// many fields as the points of a large device.
const hashesPerExchange = largeDevice / points

// nativePipeline writes hashes of 100 fields, several at once, over all
// connections.
func (s *server) nativePipeline() workload {
	return workload{
		name: "native_hset_100_pipelined", commands: []string{"hset"}, perCall: hashesPerExchange,
		points: hashesPerExchange * points, lanes: connections,
		call: func(ctx context.Context, lane, n int) error {
			pipeline := s.raw.Pipeline()
			for place := range hashesPerExchange {
				pipeline.HSet(ctx, s.nativeKey(lane, place), s.fields[n%variants]...)
			}
			_, err := pipeline.Exec(ctx)
			return s.fault(err)
		},
		verify: func(ctx context.Context, lane, n int) error {
			for place := range hashesPerExchange {
				if err := s.verifyNative(ctx, s.nativeKey(lane, place), n); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// verifyNative reads a hash back.
func (s *server) verifyNative(ctx context.Context, key string, n int) error {
	stored, err := s.raw.HGetAll(ctx, key).Result()
	if err != nil {
		return s.fault(err)
	}
	fields := s.fields[n%variants]
	if len(stored) != points {
		return ems.Errorf(ems.CodeInternal, "%s holds %d fields instead of %d", key, len(stored), points)
	}
	for i := 0; i < len(fields); i += 2 {
		if stored[fields[i].(string)] != fields[i+1] {
			return ems.Errorf(ems.CodeInternal, "%s holds %q in field %s after %q was written", key, stored[fields[i].(string)], fields[i], fields[i+1])
		}
	}
	return nil
}

// nativeHMGET reads the numbers of the points of the model.
func (s *server) nativeHMGET(ctx context.Context, _ int) error {
	values, err := s.raw.HMGet(ctx, s.db.Namespace().Values(channel, ems.Telemetry), s.ids...).Result()
	if err != nil {
		return s.fault(err)
	}
	if len(values) != modelPoints {
		return ems.Errorf(ems.CodeInternal, "HMGET answered %d values instead of %d", len(values), modelPoints)
	}
	for i, value := range values {
		if text, found := value.(string); !found || text == "" {
			return ems.Errorf(ems.CodeInternal, "HMGET answered %v for point %s", value, s.ids[i])
		}
	}
	return nil
}

// nativeHGET reads the number of a point, the next one with each call.
func (s *server) nativeHGET(ctx context.Context, n int) error {
	value, err := s.raw.HGet(ctx, s.db.Namespace().Values(channel, ems.Telemetry), s.ids[n%modelPoints]).Result()
	if err != nil {
		return s.fault(err)
	}
	if value == "" {
		return ems.Errorf(ems.CodeInternal, "HGET answered nothing for point %s", s.ids[n%modelPoints])
	}
	return nil
}
