package vaulttest

import "rotator/internal/testcache"

// Program is the server.
var Program = testcache.Program{Name: "vault", Module: "internal/vaulttest/server", Sources: []string{"main.go"}}
