//go:build !unfenced

package journal

// Fenced says that an owner who lost his claim is refused, here and by every check that stands between him and the world
// outside. A build without it (tag unfenced) exists for one purpose: to show that the tests of several replicas find
// what it breaks. It is never released.
const Fenced = true
