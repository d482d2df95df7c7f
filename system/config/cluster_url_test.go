package config

import (
	"strings"
	"testing"
)

func TestClusterURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis+cluster://h:1", "redis+cluster://h:1,i:2,[::1]:3/", "rediss+cluster://user:p%40ss,word@h:1,i:2"} {
		if err := checkRedisURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"redis+cluster://":                   "a node of the cluster: this is not a URL of the form redis://host:port",
		"redis+cluster://h:1,i":              "a node of the cluster is not of the form host:port: write redis+cluster://host:port,host:port",
		"redis+cluster://h:1,i:0":            `a node of the cluster: "redis://i:0": port 0 is not a number from 1 to 65535`,
		"redis+cluster://h:1,":               "a node of the cluster: this is not a URL",
		"redis+cluster://h:1/2":              "a node of the cluster is not of the form host:port",
		"redis+cluster://u:s3cret/x@h:1":     "a node of the cluster: this is not a URL of the form redis://host:port, and not shown",
		"redis+cluster://u:s3cret@h:1,i:70k": "a node of the cluster: this is not a URL",
		"http+cluster://h:1":                 "is not a URL of the form redis://host:port",
	} {
		err := checkRedisURL(url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v\nwant %s", url, err, want)
		}
	}
}
