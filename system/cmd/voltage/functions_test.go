package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/testkit"
)

func TestFunctionsAreLoadedIntoEveryMasterOfACluster(t *testing.T) {
	cluster := testkit.Cluster(t)
	if _, err := run(t, "functions", "verify", "--redis", cluster.URL); err == nil || strings.Count(err.Error(), "run `voltage functions load`") != 3 {
		t.Errorf("verify before loading: %v", err)
	}
	for range 2 { // loading again changes nothing
		if _, err := run(t, "functions", "load", "--redis", cluster.URL); err != nil {
			t.Fatalf("load: %v", err)
		}
	}
	verify := func() ([]string, error) {
		output, err := run(t, "functions", "verify", "--redis", cluster.URL)
		var said []string
		for _, one := range regexp.MustCompile(`(?m)^(\S+): redis 7\.\S+ holds library \S+$`).FindAllStringSubmatch(output, -1) {
			said = append(said, one[1])
		}
		return said, err
	}
	var masters []string
	for _, master := range cluster.Masters {
		masters = append(masters, master.Addr)
	}
	slices.Sort(masters)
	if said, err := verify(); err != nil || !slices.Equal(said, masters) {
		t.Errorf("verify names %v of %v: %v", said, masters, err)
	}
	if err := cluster.Clients[1].FunctionFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	lacking := cluster.Masters[1].Addr
	others := slices.DeleteFunc(slices.Clone(masters), func(one string) bool { return one == lacking })
	want := lacking + ": redis does not hold function voltage_version: run `voltage functions load`"
	if said, err := verify(); err == nil || err.Error() != want || !slices.Equal(said, others) {
		t.Errorf("verify names %v: %v\nwant %v: %s", said, err, others, want)
	}
	if output, err := run(t, "functions", "list", "--redis", cluster.URL); err != nil || !strings.Contains(output, "comsrv_ingest\n") {
		t.Errorf("list: %q, %v", output, err)
	}
	output, err := run(t, "functions", "load", "--help")
	if err != nil || !strings.Contains(output, "redis+cluster://[user:password@]host:port[,host:port…]") {
		t.Errorf("help: %q, %v", output, err)
	}
	if _, err := run(t, "functions", "load", "--redis", "redis+cluster://a:1,b"); err == nil || !strings.Contains(err.Error(), "redis+cluster://[user:password@]host:port") {
		t.Errorf("a bad URL: %v", err)
	}
}
