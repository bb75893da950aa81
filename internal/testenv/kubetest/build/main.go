// Command build builds the Kubernetes programs that tests use where they are not in the cache.
package main

import (
	"rotator/internal/testenv/kubetest"
	"rotator/internal/testenv/testcache"
)

func main() { testcache.Main(kubetest.Server, kubetest.Helm, kubetest.Unittest) }
