# Everything a developer does here. The commands are the same on a laptop and in CI.

PLANT ?= microgrid
SOAK ?= 10m
FUZZ = system/config:FuzzPointTable system/config:FuzzMerge system/config:FuzzParseChannel system/config:FuzzVirtual system/comsrv/protocol/modbus:FuzzDecode system/comsrv/protocol/modbus:FuzzReplyFrame \
	system/comsrv/protocol/modbus/sunspec:FuzzScan system/comsrv/protocol/grpc:FuzzAnswer \
	simulators/modbusserver:FuzzConnection simulators/modbusserver:FuzzAnswer

GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2

.DEFAULT_GOAL := help

.PHONY: help
help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## put Redis and InfluxDB on this machine, unless they are there
	@go run ./simulators/cmd/voltlab setup

.PHONY: run
run: setup build ## run a simulated plant and the whole system (PLANT=microgrid)
	@.bin/voltlab up $(PLANT)

.PHONY: peers
peers: ## the same, and the Modbus programs of others that tests speak with
	@go run ./simulators/cmd/voltlab setup --peers

.PHONY: test
test: peers ## run every test
	go test -race -shuffle=on -timeout 12m ./...

.PHONY: scenario
scenario: setup ## run the Gherkin features against a running plant
	go test -count=1 -timeout 12m -run TestFeatures -v ./features

.PHONY: bench
bench: setup build ## measure the hot path and hold it to its limits
	@.bin/voltlab bench

.PHONY: soak
soak: setup ## compare random operations with a plain model, run a plant for a week, open 11,000 devices, and fuzz what reads foreign bytes, ten minutes each (SOAK=10m)
	go test -race -count=1 -timeout 60m -run TestSoak -v ./system/rtdb -args -soak=$(SOAK)
	go test -count=1 -run TestSoak -v ./simulators/plant -args -simulated=168h
	go test -race -count=1 -timeout 60m -run TestSoak -v ./simulators/modbusserver -args -soak=$(SOAK)
	go test -count=1 -run TestManyServers -v ./simulators/modbusserver -args -servers=1000 -ports=100 -idle=5s
	@for target in $(FUZZ); do \
		go test -run '^$$' -fuzz "^$${target#*:}$$" -fuzztime $(SOAK) -fuzzminimizetime 1s ./$${target%:*} || exit 1; \
	done

.PHONY: lint
lint: ## check style, common faults and the import rules
	GOLANGCI_LINT_CACHE=$(CURDIR)/.bin/lint-cache go run $(GOLANGCI_LINT) run

.PHONY: build
build: ## build voltage and voltlab into .bin
	@mkdir -p .bin
	go build -o .bin/ ./system/cmd/voltage ./simulators/cmd/voltlab

.PHONY: fmt
fmt: ## format every Go file
	gofmt -w .

.PHONY: clean
clean: ## remove what was built and what local runs stored
	rm -rf .bin .data
