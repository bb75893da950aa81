package kubetest

import "rotator/internal/testenv/testcache"

// The programs that tests use.
var (
	Server = testcache.Program{Name: "kube-apiserver", Module: "internal/testenv/kubetest/server", Sources: []string{"main.go"},
		Values: "-X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"}
	Helm = testcache.Program{Name: "helm", Module: "internal/testenv/kubetest/helm", Package: "helm.sh/helm/v3/cmd/helm",
		Values: "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36" +
			" -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=36"}
	Unittest = testcache.Program{Name: "helm-unittest", Module: "internal/testenv/kubetest/helm", Package: "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"}
)
