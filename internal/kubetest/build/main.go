// Command build builds the Kubernetes programs that tests use, where they are not in the cache, so that no test's time
// limit has to cover it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"rotator/internal/kubetest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, tool := range kubetest.Tools {
		if _, err := tool.Build(ctx, func(what string) { fmt.Fprintln(os.Stderr, what) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			stop()
			os.Exit(1)
		}
	}
}
