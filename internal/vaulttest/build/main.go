// Command build builds the Vault test server where it is not in the cache.
package main

import (
	"rotator/internal/testcache"
	"rotator/internal/vaulttest"
)

func main() { testcache.Main(vaulttest.Program) }
