package scrape

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// patience is how long an endpoint may take: another reading comes soon.
	patience = 2 * time.Second
	// maxBody and maxLine bound what is read of an endpoint.
	maxBody = 8 << 20
	maxLine = 64 << 10
)

// client follows no redirects, which may lead out of the instance, and uses no proxy.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Metrics returns the counters that guards name, of an instance with this address. One that could not be read is missing.
func Metrics(ctx context.Context, addr netip.AddrPort, guards []cloud.MetricGuard) map[string]float64 {
	type endpoint struct {
		port uint16
		path string
	}
	names := map[endpoint][]string{}
	for _, g := range guards {
		at := endpoint{addr.Port(), g.Endpoint()}
		if g.Port != 0 {
			at.port = uint16(g.Port)
		}
		names[at] = append(names[at], g.Metric)
	}
	found := map[string]float64{}
	for at, wanted := range names {
		// An endpoint that does not answer is told by what is missing.
		_ = read(ctx, "http://"+netip.AddrPortFrom(addr.Addr(), at.port).String()+at.path, wanted, found)
	}
	return found
}

func read(ctx context.Context, url string, wanted []string, found map[string]float64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	sums, err := Sum(io.LimitReader(res.Body, maxBody), wanted)
	if err != nil {
		return err
	}
	for name, n := range sums {
		found[name] = n
	}
	return nil
}

// Sum returns the sums over all labels of the wanted metrics in a text of Prometheus' or OpenMetrics' format. A metric
// without any sample is 0 if the text declares it, and missing otherwise.
func Sum(text io.Reader, wanted []string) (map[string]float64, error) {
	sums := map[string]float64{}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		for _, name := range wanted {
			if rest, ok := strings.CutPrefix(line, "# TYPE "+name+" "); ok && rest != "" {
				sums[name] += 0
			}
			rest, ok := strings.CutPrefix(line, name)
			if !ok || rest == "" {
				continue
			}
			if n, ok := sample(rest); ok {
				sums[name] += n
			}
		}
	}
	return sums, lines.Err()
}

// sample returns the value of a sample whose name has been cut off: `{label="value"} 12.5 1700000000`.
func sample(rest string) (float64, bool) {
	switch rest[0] {
	case '{':
		end := labelsEnd(rest)
		if end < 0 {
			return 0, false
		}
		rest = rest[end:]
	case ' ', '\t':
	default:
		return 0, false // a longer name
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(fields[0], 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// labelsEnd returns where the labels that begin s end; -1 if they don't. A brace inside quotes is part of a value.
func labelsEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == '}':
			return i + 1
		}
	}
	return -1
}
