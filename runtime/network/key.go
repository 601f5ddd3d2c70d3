package network

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/protoduction/micro/durable"
)

// LoadKey reads the node's private WireGuard key, and makes one if there is none. The key never leaves the node.
func LoadKey(file string) (*ecdh.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	raw, err := parseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("network: %s: %w", file, err)
	}
	key, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("network: %s: %w", file, err)
	}
	return key, nil
}

func makeKey(file string) (*ecdh.PrivateKey, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if err := durable.WriteFile(file, []byte(encodeKey(key.Bytes()))); err != nil {
		return nil, fmt.Errorf("network: keep the key of the overlay: %w", err)
	}
	return key, nil
}

// PublicKey returns the key by which other nodes know this one, as the state has it.
func PublicKey(key *ecdh.PrivateKey) string { return encodeKey(key.PublicKey().Bytes()) }

func encodeKey(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

func parseKey(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 32 {
		return nil, errors.New("not a WireGuard key: want 32 bytes in base64")
	}
	return raw, nil
}
