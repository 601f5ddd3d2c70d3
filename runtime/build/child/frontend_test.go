package child

import (
	"testing"
	"time"
)

func TestDateHistory(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for config, want := range map[string]string{
		`{}`: `{}`,
		`{"config":{"Healthcheck":{"Interval":9007199254740993}},"history":[{"created":"2019-01-01T00:00:00Z","created_by":"base"},{"created_by":"RUN x"},{"created":null,"empty_layer":true}]}`: `{"config":{"Healthcheck":{"Interval":9007199254740993}},"history":[{"created":"2019-01-01T00:00:00Z","created_by":"base"},{"created":"2020-01-02T03:04:05Z","created_by":"RUN x"},{"created":"2020-01-02T03:04:05Z","empty_layer":true}]}`,
	} {
		if got, err := dateHistory([]byte(config), at); err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	if _, err := dateHistory([]byte("x"), at); err == nil {
		t.Error("no error for what is not JSON")
	}
}
