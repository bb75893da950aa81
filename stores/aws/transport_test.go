package aws

import (
	"net/http"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"rotator/internal/testenv/blackhole"
)

// A connection that died without a word is given up within a minute.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	client := withoutRedirects(awshttp.NewBuildableClient())
	if after := blackhole.Escaped(t, client.Transport.(lastCheck).next.(*http.Transport)); after > time.Minute {
		t.Errorf("it took %v", after)
	}
}
