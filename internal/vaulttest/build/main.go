// Command build builds the Vault test server where it is not in the cache, so that no test's time limit has to cover it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"rotator/internal/vaulttest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	_, err := vaulttest.Build(ctx, func(folder string) { fmt.Fprintln(os.Stderr, vaulttest.Slow, folder) })
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
