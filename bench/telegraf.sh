#!/bin/sh
# Compares how many registers comsrv and the Modbus input of Telegraf read each
# second from the same simulated devices, with the same points and poll period.
# The registers are counted at the devices.
#
#   bench/telegraf.sh [DEVICES [POINTS]]      64 devices of 1500 points each
#
# Needs Go, redis-server and what "make build" makes. Telegraf is built into .bin,
# with the Modbus input and the output that discards alone: about a minute.
set -eu
version=v1.37.2
cd "$(dirname "$0")/.."
[ -x .bin/telegraf ] || GOBIN="$PWD/.bin" go install -tags custom,inputs.modbus,outputs.discard \
	"github.com/influxdata/telegraf/cmd/telegraf@$version"

work=$(mktemp -d)
running=
trap 'for pid in $running; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT INT TERM

.bin/voltlab meters --count "${1:-64}" --points "${2:-1500}" --site "$work/site" --telegraf "$work/telegraf.conf" >"$work/read" &
running="$!"
port=$((20000 + $$ % 10000))
redis-server --port "$port" --bind 127.0.0.1 --dir "$work" --save '' --hash-max-listpack-entries 64 >"$work/redis.log" &
running="$running $!"
export VOLTAGE_REDIS_URL="redis://127.0.0.1:$port" COMSRV_LISTEN=127.0.0.1:0
until .bin/voltage functions load >"$work/load.log" 2>&1; do sleep 1; done
until [ -s "$work/read" ]; do sleep 1; done # the files are written before

# measure NAME COMMAND… runs a program, gives it 10 s to settle, and tells what is
# read in 20 s.
measure() {
	name=$1
	shift
	"$@" >"$work/$name.log" 2>&1 &
	program=$!
	running="$running $program"
	sleep 30
	tail -n 4 "$work/read" | awk -v name="$name" '{ sum += $1 } END { printf "%s: %.0f registers/s\n", name, sum / NR }'
	kill "$program"
	wait "$program" || true
}
measure telegraf .bin/telegraf --config "$work/telegraf.conf"
measure comsrv .bin/voltage serve --site "$work/site" --target=comsrv
