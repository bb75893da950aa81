package e2e

const bareRole = "X"

func runBare() int { return 0 }
