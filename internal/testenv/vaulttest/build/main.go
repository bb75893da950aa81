// Command build builds the Vault test server where it is not in the cache.
package main

import (
	"rotator/internal/testenv/testcache"
	"rotator/internal/testenv/vaulttest"
)

func main() { testcache.Main(vaulttest.Program) }
