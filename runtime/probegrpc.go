package runtime

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
)

// grpcHealth is the method of gRPC's health checking protocol.
const grpcHealth = "/grpc.health.v1.Health/Check"

// probeGRPC asks an instance by gRPC's health checking protocol for its health as a whole.
func probeGRPC(ctx context.Context, addr netip.AddrPort, c cloud.Check) error {
	// The message is empty: a request for the service "", which is the server itself.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr.String()+grpcHealth, bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "micro-health-check")
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	client, closeIdle := probeClient(cloud.ProtocolHTTP2)
	defer closeIdle()
	resp, err := client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		var body []byte
		if body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<10)); err == nil {
			return healthOf(resp, body, addr.Port())
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the gRPC health check on port %d had no answer within %s", addr.Port(), time.Duration(c.Timeout))
	case refused(err):
		return &unanswered{fmt.Sprintf("does not answer on port %d", addr.Port()), err}
	}
	return fmt.Errorf("the gRPC health check on port %d failed: it must speak HTTP/2 in cleartext: %w", addr.Port(), err)
}

// healthOf reads the answer to a gRPC health check.
func healthOf(resp *http.Response, body []byte, port uint16) error {
	status, text := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if status == "" { // of an answer without a message
		status, text = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the gRPC health check on port %d answered the HTTP status %d", port, resp.StatusCode)
	case status == "12":
		return fmt.Errorf("the gRPC server on port %d does not have the service grpc.health.v1.Health", port)
	case status != "0":
		return fmt.Errorf("the gRPC health check on port %d answered grpc-status %s: %.200q", port, status, text)
	}
	switch serving := servingStatus(body); serving {
	case 1:
		return nil
	case 2:
		return fmt.Errorf("the gRPC health check on port %d answered NOT_SERVING", port)
	default:
		return fmt.Errorf("the gRPC health check on port %d answered the serving status %d", port, serving)
	}
}

// servingStatus returns field 1 of a HealthCheckResponse, a varint, in its frame of five bytes; 0, which is UNKNOWN, is
// left out by servers.
func servingStatus(frame []byte) int {
	if len(frame) < 7 || frame[0] != 0 || frame[5] != 1<<3 {
		return 0
	}
	return int(frame[6])
}
