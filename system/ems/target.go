package ems

// Target names one service of the suite.
type Target string

// The services, in the order in which they start.
const (
	Comsrv     Target = "comsrv"
	Modsrv     Target = "modsrv"
	Alarmsrv   Target = "alarmsrv"
	Rulesrv    Target = "rulesrv"
	Hissrv     Target = "hissrv"
	Netsrv     Target = "netsrv"
	Apigateway Target = "apigateway"
)

// Targets lists every service in start order: the gateway last, because it has
// nothing to offer before the others answer.
var Targets = [...]Target{Comsrv, Modsrv, Alarmsrv, Rulesrv, Hissrv, Netsrv, Apigateway}

// Port returns the TCP port on which the service answers HTTP.
func (t Target) Port() int {
	switch t {
	case Comsrv:
		return 6000
	case Modsrv:
		return 6001
	case Alarmsrv:
		return 6002
	case Rulesrv:
		return 6003
	case Hissrv:
		return 6004
	case Apigateway:
		return 6005
	case Netsrv:
		return 6006
	default:
		return 0
	}
}

// ParseTarget reads a service name.
func ParseTarget(text string) (Target, error) {
	for _, t := range Targets {
		if string(t) == text {
			return t, nil
		}
	}
	return "", Errorf(CodeInvalid, "unknown target %q: use all, or any of comsrv, modsrv, alarmsrv, rulesrv, hissrv, netsrv, apigateway, with commas between", text)
}
