package rootfs

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// network is how registries are reached: with the certificates for each host, with patience, and over plain http only
// where that is allowed. It is an http.RoundTripper.
type network struct {
	plainHTTP bool          // for all hosts
	caFile    string        // for all hosts
	answerIn  time.Duration // how long a request may wait for its answer
	conf      *registriesConf
	report    *reporter

	mu    sync.Mutex
	hosts map[string]http.RoundTripper
}

func newNetwork(o PullOptions, report *reporter) (*network, error) {
	conf, err := loadRegistriesConf()
	if err != nil {
		return nil, err
	}
	return &network{plainHTTP: o.PlainHTTP, caFile: o.caFile(), answerIn: time.Minute, conf: conf, report: report,
		hosts: map[string]http.RoundTripper{}}, nil
}

// RoundTrip sends a request, again if that may help.
func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !n.mayBePlain(req.URL.Host) {
		return nil, fail(Insecure, "use --plain-http if you trust the network in between",
			"refuse plain http to %s", req.URL.Host)
	}
	host, err := n.host(req.URL.Host)
	if err != nil {
		return nil, err
	}
	return roundTripPatiently(host, req, n.report)
}

// mayBePlain is true for what never leaves this machine, and for what somebody allowed.
func (n *network) mayBePlain(host string) bool {
	return n.plainHTTP || isLoopback(host) || n.conf.insecure(host)
}

func isLoopback(host string) bool {
	name := hostname(host)
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.IsLoopback()
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") // RFC 6761 section 6.3
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// host returns the transport for one host and port, whose certificates are its own business.
func (n *network) host(host string) (http.RoundTripper, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t, ok := n.hosts[host]; ok {
		return t, nil
	}
	config, err := tlsConfig(host, n.caFile, n.conf.insecure(host))
	if err != nil {
		return nil, err
	}
	n.hosts[host] = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: n.answerIn,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   parallelLayers,
		ReadBufferSize:        64 << 10,
		DisableCompression:    true, // blobs are to come as they are
	}
	return n.hosts[host], nil
}

func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.hosts {
		t.(*http.Transport).CloseIdleConnections()
	}
}
