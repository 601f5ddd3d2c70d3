package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// haproxyConfig is Debian's HAProxy with its defaults; it adds the forwarding fields that an app needs,
// and spreads as the router does. It has a thread for each processor where threads is 0.
func haproxyConfig(listen, secure, cert string, backends []string, threads int) string {
	var b strings.Builder
	b.WriteString("global\n\tmaxconn 4096\n\tssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256\n")
	if threads > 0 {
		fmt.Fprintf(&b, "\tnbthread %d\n", threads)
	}
	fmt.Fprintf(&b, `defaults
	mode http
	timeout connect 1s
	timeout client 75s
	timeout server 60s
	timeout http-request 10s
	option forwardfor
frontend in
	bind %s
	bind %s ssl crt %s alpn h2,http/1.1
	http-request set-header X-Forwarded-Proto http
	http-request set-header X-Forwarded-Host %%[req.hdr(Host)]
	use_backend shop if { hdr(host) -i %s }
backend shop
	balance random(2)
	http-reuse always
`, listen, secure, cert, host)
	for i, a := range backends {
		fmt.Fprintf(&b, "\tserver s%d %s\n", i, a)
	}
	return b.String()
}

// nginxConfig is Debian's nginx without an access log, with keep-alive to the backends, and with nothing buffered in
// files. It adds the forwarding
// fields that an app needs, and spreads as the router does. It has a worker for each processor where threads is 0.
func nginxConfig(dir, listen, secure, cert string, backends []string, threads int) string {
	var b strings.Builder
	workers := "auto"
	if threads > 0 {
		workers = fmt.Sprint(threads)
	}
	if os.Geteuid() == 0 {
		b.WriteString("user root;\n") // or its workers can't write into dir
	}
	fmt.Fprintf(&b, `daemon off;
worker_processes %s;
pid %s/nginx.pid;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	client_body_buffer_size 64k;
	proxy_max_temp_file_size 0;
	keepalive_requests 1000000000;
	upstream shop {
		random two least_conn;
		keepalive 64;
		keepalive_requests 1000000000;
`, workers, dir)
	for _, a := range backends {
		fmt.Fprintf(&b, "\t\tserver %s;\n", a)
	}
	fmt.Fprintf(&b, `	}
	server {
		listen %s;
		listen %s ssl http2;
		ssl_certificate %s;
		ssl_certificate_key %[3]s;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
		server_name %[4]s;
		location / {
			proxy_pass http://shop;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Proto http;
			proxy_set_header X-Forwarded-Host $host;
		}
	}
}
`, listen, secure, cert, host)
	return b.String()
}

// serveRouter runs the router as a node does, with its figures.
func serveRouter(ctx context.Context, listen, secure, cert string, backends []string, profile string) error {
	app := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	view := cloud.NewView()
	view.State = view.State.Apply(1, []cloud.Change{
		cloud.Put(&cloud.Settings{Domain: "micro.test"}),
		cloud.Put(&cloud.App{AppRef: app, Current: 1, Last: 1}),
		cloud.Put(&cloud.Release{ReleaseRef: app.Release(1)}),
	})
	for i, b := range backends {
		addr, err := netip.ParseAddrPort(b)
		if err != nil {
			return err
		}
		view.Instances = view.Instances.With(&cloud.Instance{
			ID:    cloud.InstanceID(fmt.Sprintf("shop-%d", i)),
			Slot:  cloud.Slot{ReleaseRef: app.Release(1), Process: cloud.Web, Index: i},
			Phase: cloud.InstanceReady, Addr: addr,
		})
	}
	r := router.New(router.Config{Recorder: router.NewFigures(router.DefaultWarmup)})
	compiler := router.Compiler{}
	r.Swap(compiler.Compile(nil, view))
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	secured, err := terminate(cert)
	if err != nil {
		return err
	}
	tlsListener, err := net.Listen("tcp", secure)
	if err != nil {
		return err
	}
	go func() {
		if err := r.Serve(ctx, tlsListener, router.Listener{Internal: true, Scheme: "https", Handshake: secured.Handshake}); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	socket, err := net.ListenPacket("udp", secure)
	if err != nil {
		return err
	}
	go func() {
		q := router.QUIC{TLS: secured.QUIC, Secret: []byte("secret")}
		if err := r.ServeHTTP3(ctx, socket, q, router.Listener{Internal: true, Scheme: "https"}); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := r.Serve(ctx, ln, router.Listener{Internal: true}); err != nil {
		return err
	}
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return r.Shutdown(end)
}
