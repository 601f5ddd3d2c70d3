package cluster

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Request is what a node that joins says of itself.
type Request struct {
	ID     string         `json:"id"`     // of the token
	Secret []byte         `json:"secret"` // of the token
	Name   cloud.NodeName `json:"name"`
	Addr   netip.AddrPort `json:"addr"`
	Key    []byte         `json:"key"` // the node's public key (PKIX)
	Size   cloud.Capacity `json:"size"`
	// Worker says that the others can't connect to Addr, and reach the node over the overlay alone.
	Worker bool `json:"worker,omitempty"`
	// Networks are those that the machine is in already: its instances must get addresses of none of them.
	Networks []netip.Prefix `json:"networks,omitempty"`
	Version  string         `json:"version"`
	// Domain is the private domain that the node was told to have; "" for the cloud's.
	Domain cloud.Domain `json:"domain,omitempty"`
	// CloudKey is the SHA-256 of the key file that the machine has already, in hex; "" for none.
	CloudKey string `json:"cloud_key,omitempty"`
}

// Answer is what the cloud gives to a node that it accepts.
type Answer struct {
	Cloud       string `json:"cloud"`
	Certificate []byte `json:"certificate"`
	// Key is the content of the cloud's key file.
	Key   []byte `json:"key"`
	Peers []Peer `json:"peers"`
	// Addr is where the others reach a worker.
	Addr netip.AddrPort `json:"addr,omitzero"`
	// Store is the user's own etcd that has the cloud's store; nil for micro's.
	Store *cloud.ExternalStore `json:"store,omitempty"`
}

// refusal is how a request ends that is not accepted.
type refusal struct {
	Code cloud.Code `json:"code"`
	Text string     `json:"text"`
	Hint string     `json:"hint,omitempty"`
}

const (
	joinTimeout = 20 * time.Second
	maxJoin     = 1 << 20 // bytes of a request or an answer
)

// JoinHandler answers nodes that join. accept returns what an accepted node is given, and the certificate's content;
// its errors are shown to the node's owner.
func JoinHandler(accept func(context.Context, Request) (Answer, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /join", func(w http.ResponseWriter, r *http.Request) {
		var req Request
		if err := json.NewDecoder(io.LimitReader(r.Body, maxJoin)).Decode(&req); err != nil {
			writeRefusal(w, cloud.Errorf(cloud.Invalid, "the request to join cannot be read: %w", err))
			return
		}
		answer, err := accept(r.Context(), req)
		if err != nil {
			writeRefusal(w, err)
			return
		}
		_ = json.NewEncoder(w).Encode(answer) // a node that is gone asks again, and is refused
	})
	return mux
}

func writeRefusal(w http.ResponseWriter, err error) {
	code := cloud.CodeOf(err)
	w.WriteHeader(code.Status())
	_ = json.NewEncoder(w).Encode(refusal{code, err.Error(), cloud.HintOf(err)})
}

// Join asks the token's cloud to accept this node, which has the key and must answer probes at req.Addr already. It
// returns the cloud's answer and the certificate of the nodes' authority.
func Join(ctx context.Context, t Token, key crypto.Signer, req Request) (Answer, []byte, error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Answer{}, nil, err
	}
	req.ID, req.Secret, req.Key = t.ID(), t.Secret[:], public
	var errs []error
	for _, addr := range t.Addrs {
		answer, authority, err := joinAt(ctx, t, addr, req)
		if err == nil {
			return answer, authority, nil
		}
		if cloud.CodeOf(err) != cloud.Unavailable {
			return Answer{}, nil, err
		}
		errs = append(errs, err)
	}
	return Answer{}, nil, cloud.Errorf(cloud.Unavailable, "cannot reach the cloud to join it: %w", errors.Join(errs...)).
		WithHint("check that this machine reaches %s", t.Addrs[0])
}

func joinAt(ctx context.Context, t Token, addr netip.AddrPort, req Request) (answer Answer, authority []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{ProtoJoin},
		InsecureSkipVerify: true, // VerifyConnection knows the cloud by the token's fingerprint
		VerifyConnection: func(s tls.ConnectionState) error {
			authority, err = checkCloud(t, s.PeerCertificates)
			return err
		},
	}
	dialer := tls.Dialer{Config: cfg, NetDialer: &net.Dialer{Timeout: dialTimeout}}
	client := &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr.String())
		}, DisableKeepAlives: true,
	}}
	body, err := json.Marshal(req)
	if err != nil {
		return answer, nil, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr.String()+"/join", bytes.NewReader(body))
	if err != nil {
		return answer, nil, err
	}
	resp, err := client.Do(post)
	if known, ok := errors.AsType[*cloud.Error](err); ok {
		return answer, nil, known
	}
	if err != nil {
		return answer, nil, cloud.Errorf(cloud.Unavailable, "%s does not answer: %w", addr, err)
	}
	defer resp.Body.Close()
	decoder := json.NewDecoder(io.LimitReader(resp.Body, maxJoin))
	if resp.StatusCode != http.StatusOK {
		var no refusal
		if err := decoder.Decode(&no); err != nil || no.Text == "" {
			return answer, nil, cloud.Errorf(cloud.Unavailable, "%s answered with status %d", addr, resp.StatusCode)
		}
		return answer, nil, cloud.Errorf(no.Code, "%s", no.Text).WithHint("%s", no.Hint)
	}
	if err := decoder.Decode(&answer); err != nil {
		return answer, nil, cloud.Errorf(cloud.Unavailable, "the answer of %s broke off: %w", addr, err)
	}
	return answer, authority, nil
}

// checkCloud checks that a server's certificate is of the token's cloud, and returns the authority's.
func checkCloud(t Token, chain []*x509.Certificate) ([]byte, error) {
	for _, c := range chain {
		if fingerprint(c.Raw) != t.Authority {
			continue
		}
		if err := chain[0].CheckSignatureFrom(c); err != nil {
			return nil, cloud.Errorf(cloud.Denied, "what answers is not a node of the token's cloud: %w", err)
		}
		return c.Raw, nil
	}
	return nil, cloud.Errorf(cloud.Denied, "what answers is a node of another cloud than the token's").WithHint("make a token in the cloud that this node is to join: micro cluster token")
}

// AnswerProbes lets the cloud check that it reaches a node that joins, until stop is called. The node proves that it has
// the key by a certificate that it has signed itself. The listener can be used afterwards.
func AnswerProbes(l *net.TCPListener, key crypto.Signer) (stop func(), err error) {
	now := time.Now()
	template := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "joining"}, NotBefore: now.Add(-clockSkew), NotAfter: now.Add(clockSkew)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{ProtoJoin}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return // the deadline that stop sets
			}
			go func() {
				c := tls.Server(raw, cfg)
				_ = c.SetDeadline(time.Now().Add(handshakeTimeout))
				_ = c.Handshake() // the other side sees how it ends
				c.Close()
			}()
		}
	}()
	return func() {
		_ = l.SetDeadline(time.Unix(1, 0)) // a closed listener has ended the loop already
		<-done
		_ = l.SetDeadline(time.Time{})
	}, nil
}

// Probe checks that a node which joins is reached at its address and has the key that it says it has.
func Probe(ctx context.Context, addr netip.AddrPort, public crypto.PublicKey) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	want, err := KeyHash(public)
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "the node's key cannot be read: %w", err)
	}
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{ProtoJoin},
		InsecureSkipVerify: true, // the key is what counts
		VerifyConnection: func(s tls.ConnectionState) error {
			if got, err := KeyHash(s.PeerCertificates[0].PublicKey); err != nil || got != want {
				return fmt.Errorf("another node answers there")
			}
			return nil
		},
	}}
	c, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "this cloud does not reach the node at %s: %w", addr, err).
			WithHint("give an address that the other nodes reach: --cluster IP:PORT; if there is none, behind NAT for example, the node can join as a worker: --worker")
	}
	return c.Close()
}
