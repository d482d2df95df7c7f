package rtdb

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/lua"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Load puts this binary's library into Redis in place of any other version. It
// is atomic and may run while services call functions.
func (c *Client) Load(ctx context.Context) error {
	_, err := c.redis.FunctionLoadReplace(ctx, c.library.Code).Result()
	return c.fail("FUNCTION LOAD", err)
}

// Library returns the library that this binary was built with.
func (c *Client) Library() *lua.Library { return c.library }

// Verify asks Redis which library it holds and refuses one that this binary
// cannot work with: another major version, or an older minor one.
func (c *Client) Verify(ctx context.Context) error {
	_, err := c.CheckFunctions(ctx)
	return err
}

// CheckRedis is the health check of the connection.
func (c *Client) CheckRedis(ctx context.Context) (string, error) {
	info, err := c.serverInfo(ctx)
	if err != nil {
		return "", err
	}
	return "redis " + info["redis_version"], checkVersion(info)
}

func checkVersion(info map[string]string) error {
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if integer(major) < 7 {
		return ems.Errorf(ems.CodeUnavailable, "redis %s is too old: functions need redis 7 or newer", version)
	}
	return nil
}

// CheckFunctions is the health check of the library.
func (c *Client) CheckFunctions(ctx context.Context) (string, error) {
	found, err := c.text(ctx, "voltage_version", "any")
	if err != nil {
		return "", err
	}
	version, hash, _ := strings.Cut(found, ":")
	if hash != c.library.Hash && !fits(version, lua.Version) {
		return "", ems.Errorf(ems.CodeUnavailable, "redis holds library version %s and this binary needs %s: run `voltage functions load` of this release", version, lua.Version)
	}
	return "library " + found, nil
}

// fits reports whether a binary that needs one version works with the other:
// the same major version, and at least as many functions.
func fits(loaded, needed string) bool {
	loadedMajor, loadedMinor, _ := strings.Cut(loaded, ".")
	neededMajor, neededMinor, _ := strings.Cut(needed, ".")
	return loadedMajor == neededMajor && integer(loadedMinor) >= integer(neededMinor)
}

func (c *Client) serverInfo(ctx context.Context) (map[string]string, error) {
	text, err := c.redis.Info(ctx, "server").Result()
	if err != nil {
		return nil, c.fail("INFO", err)
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

// watchPeriod is how often Watch looks whether Redis is still the same.
const watchPeriod = 500 * time.Millisecond

// Watch calls ready each time a usable Redis has newly appeared: at the start,
// after it restarted or was emptied, after the library was loaded anew, and again
// after ready failed. That is the moment for a service to store its part of the site and to
// refresh what it knows. Watch returns when ctx ends.
func (c *Client) Watch(ctx context.Context, ready func(ctx context.Context) error) {
	timer := c.clock.NewTimer(0)
	defer timer.Stop()
	known, lastFault := "", ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
		}
		fault := "redis is not usable; trying again"
		epoch, err := c.epoch(ctx)
		if err != nil {
			known = ""
		} else if epoch != known {
			fault = "the site cannot be stored in redis; trying again"
			if err = ready(ctx); err == nil {
				known = epoch
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && fault+err.Error() != lastFault:
			lastFault = fault + err.Error()
			c.logger.Warn(fault, "error", err)
		case err == nil && lastFault != "":
			lastFault = ""
			c.logger.Info("redis is usable again, and the site is stored")
		}
		timer.Reset(watchPeriod)
	}
}

// epoch names the present life of Redis: its run id, the library it holds, and a
// mark among the keys of the site, which goes when the keys are lost.
func (c *Client) epoch(ctx context.Context) (string, error) {
	info, err := c.serverInfo(ctx)
	if err != nil {
		return "", err
	}
	if err := checkVersion(info); err != nil {
		return "", err
	}
	functions, err := c.CheckFunctions(ctx)
	if err != nil {
		return "", err
	}
	mark := c.namespace.Of("voltage:life")
	life, err := c.redis.Get(ctx, mark).Result()
	if isNil(err) {
		if err := c.redis.SetNX(ctx, mark, rand.Text(), 0).Err(); err != nil {
			return "", c.fail("SET", err)
		}
		life, err = c.redis.Get(ctx, mark).Result()
	}
	if err != nil {
		return "", c.fail("GET", err)
	}
	return info["run_id"] + " " + functions + " " + life, nil
}
