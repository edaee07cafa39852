package notify_test

import (
	"context"
	"testing"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
	"github.com/weir-stream/weir/store"
)

// How long it takes to be told of an incident, on a directory with its fsyncs:
// go test -run '^$' -bench Notify -benchtime 500x ./anomaly/notify
func BenchmarkNotify(b *testing.B) {
	bucket, err := store.OpenDirectory(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	n, err := notify.New(notify.Options{Webhooks: []*weir.WebhookConfig{hook("ops", "http://127.0.0.1:1")}, Bucket: bucket})
	if err != nil {
		b.Fatal(err)
	}
	for at := int64(0); b.Loop(); at++ {
		if err := n.Notify(context.Background(), incident(at, at, weir.Firing), []string{"ops"}); err != nil {
			b.Fatal(err)
		}
	}
}
