package api

import "github.com/prometheus/client_golang/prometheus"

// StatusRowOf is statusRow, for the tests.
var StatusRowOf = statusRow

// Describe reports all metrics.
func (c *Server) Describe(ch chan<- *prometheus.Desc) { c.meters.registry.Describe(ch) }
