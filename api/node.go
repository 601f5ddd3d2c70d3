package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// Version is what runs.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Built   string `json:"built,omitempty" doc:"RFC 3339"`
	Go      string `json:"go"`
	// Store is 0 for clients of other systems, and for versions before 0.1.0.
	Store int    `json:"reads_store,omitempty" doc:"The newest version of the store's format that it reads"`
	API   string `json:"api" doc:"v1"`
}

// Node is a node's own account of itself.
type Node struct {
	Name    cloud.NodeName `json:"name"`
	Version string         `json:"version"`
	Program string         `json:"program,omitempty" doc:"Path that the node's program was started from"`
	PID     int            `json:"pid"`
	Data    string         `json:"data" doc:"The data folder"`
	Domain  cloud.Domain   `json:"domain" doc:"The private domain"`
	HTTP    []string       `json:"http" nullable:"false" doc:"Addresses that the router answers on, IP:port"`
	HTTPS   []string       `json:"https" nullable:"false" doc:"Addresses that the router answers on by TLS, IP:port"`
	Public  []string       `json:"public" nullable:"false" doc:"Addresses that public hosts are answered on, IP:port"`
	// PublicHTTPS is not only for hosts with a certificate: it is where the others are refused.
	PublicHTTPS []string `json:"public_https" nullable:"false" doc:"Addresses that public hosts are answered on by TLS, IP:port"`
	DNS         []string `json:"dns" nullable:"false" doc:"Addresses that the DNS server answers on, IP:port"`
	PublicDNS   []string `json:"public_dns,omitempty" doc:"Addresses on which the world is answered about public domains, IP:port"`
	Socket      string   `json:"socket" doc:"Where the API is"`
	API         []string `json:"api_urls,omitempty" doc:"Where the API answers other machines, URLs"`
	// Fingerprint is what clients know the cloud by.
	Fingerprint string    `json:"fingerprint,omitempty" doc:"SHA-256 of the certificate authority that the API shows other machines"`
	Gateway     string    `json:"gateway,omitempty" doc:"The node's address as containers see it"`
	Subnet      string    `json:"subnet,omitempty" doc:"The range of the containers' addresses"`
	Started     time.Time `json:"started"`
	Ready       bool      `json:"ready" doc:"All parts run, and instances found at the start are routed to"`
	Waiting     string    `json:"waiting,omitempty" doc:"What is not ready yet"`
	Memory      int64     `json:"memory,omitempty" doc:"Bytes of the node that are in memory (RSS)"`
	Warnings    []string  `json:"warnings,omitempty" doc:"What whoever starts the node must know"`
}

// CheckStatus is how a check of doctor ended.
type CheckStatus string

// The ends of a check.
const (
	OK   CheckStatus = "ok"
	Warn CheckStatus = "warn"
	Fail CheckStatus = "fail"
)

// Check is one thing that doctor looked at.
type Check struct {
	Name   string      `json:"name" doc:"What was looked at"`
	Status CheckStatus `json:"status" enum:"ok,warn,fail"`
	Text   string      `json:"text" doc:"What was found"`
	Hint   string      `json:"hint,omitempty" doc:"What to do about it"`
}

// Disk is what takes room on a node's disk.
type Disk struct {
	Path  string     `json:"path" doc:"The data folder"`
	Total int64      `json:"total" doc:"Bytes of the file system"`
	Free  int64      `json:"free" doc:"Bytes of the file system that are free"`
	Parts []DiskPart `json:"parts" nullable:"false"`
}

// DiskPart is what one kind of thing takes.
type DiskPart struct {
	Name  string `json:"name" doc:"images, uploads, containers, build cache, logs, volumes, store, reserve for repairs"`
	Bytes int64  `json:"bytes"`
}

// Pruned is what prune gave back.
type Pruned struct {
	Bytes int64 `json:"bytes" doc:"Bytes that are free now and were not before"`
}

// Image is an image in the node's store.
type Image struct {
	Name    string    `json:"name" doc:"What it was asked for by, or was made from"`
	Digest  string    `json:"digest"`
	Size    int64     `json:"size" doc:"Bytes, compressed as stored"`
	Created time.Time `json:"created"`
	Used    []string  `json:"used" nullable:"false" doc:"Releases that have it"`
}
