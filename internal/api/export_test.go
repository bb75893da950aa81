package api

import "github.com/prometheus/client_golang/prometheus"

// StatusRowOf is statusRow, for the tests.
var StatusRowOf = statusRow

// Describe tells of all metrics.
func (c *Server) Describe(ch chan<- *prometheus.Desc) { c.meters.registry.Describe(ch) }
