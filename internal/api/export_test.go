package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"rotator/rotation/journal"
)

// StatusRowOf is statusRow, for the tests.
var StatusRowOf = statusRow

// Describe reports all metrics.
func (c *Server) Describe(ch chan<- *prometheus.Desc) { c.meters.registry.Describe(ch) }

// Among is Selection.among.
func (s Selection) Among(all []journal.Summary) ([]journal.Summary, error) { return s.among(all) }

// Named is named.
var Named = named
