package vaulttest

import "rotator/internal/testenv/testcache"

// Program is the server.
var Program = testcache.Program{Name: "vault", Module: "internal/testenv/vaulttest/server", Sources: []string{"main.go"}}
