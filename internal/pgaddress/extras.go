package pgaddress

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"time"
)

// Extras are what an address asks for that the driver does not do by itself.
type Extras struct {
	KeepAlive       *net.KeepAliveConfig // of TCP; nil: as the driver has it
	UserTimeout     time.Duration        // how long data that was sent may stay unacknowledged (TCP_USER_TIMEOUT); 0: as the system has it
	MinTLS, MaxTLS  uint16               // 0: as the driver has it
	Balance         bool                 // hosts are tried in random order
	ApplicationName string               // where no other is given
}

// ExtrasOf reads them from parameters, by name. What it cannot read was refused by [Check].
func ExtrasOf(params map[string]string) (e Extras) {
	whole := func(name string) (n int, given bool) {
		n, err := strconv.Atoi(strings.TrimSpace(params[name]))
		return n, err == nil
	}
	on, said := whole("keepalives")
	// Zero and nothing mean what the system has, which is a negative number to package net.
	orSystem := func(name string, unit time.Duration) time.Duration {
		if n, _ := whole(name); n > 0 {
			said = true
			return time.Duration(n) * unit
		}
		return -1
	}
	k := net.KeepAliveConfig{Enable: !said || on != 0, Idle: orSystem("keepalives_idle", time.Second), Interval: orSystem("keepalives_interval", time.Second)}
	k.Count = int(orSystem("keepalives_count", 1))
	if said {
		e.KeepAlive = &k
	}
	if n, _ := whole("tcp_user_timeout"); n > 0 {
		e.UserTimeout = time.Duration(n) * time.Millisecond
	}
	e.MinTLS, _ = tlsVersion(params["ssl_min_protocol_version"])
	e.MaxTLS, _ = tlsVersion(params["ssl_max_protocol_version"])
	e.Balance = params["load_balance_hosts"] == "random"
	e.ApplicationName = params["fallback_application_name"]
	return e
}

// tlsVersion reads a version as libpq writes it. Nothing below TLS 1.2 is ever used.
func tlsVersion(text string) (version uint16, ok bool) {
	switch strings.ToLower(text) {
	case "tlsv1.2":
		return tls.VersionTLS12, true
	case "tlsv1.3":
		return tls.VersionTLS13, true
	}
	return 0, false
}
