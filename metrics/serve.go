package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kinesis-msk-bridge/bridge"
)

// A Server answers on this machine only: /metrics, /healthz (the process is alive),
// /readyz (records can move) and /progress (a Live, as JSON).
type Server struct {
	listener net.Listener
	http     *http.Server
	ended    chan error
}

// CheckAddress refuses an address that other machines could reach. Port 0 is any.
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address with a port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%q has no port from 0 to 65535", address)
	}
	if !loopback(host) {
		return fmt.Errorf("%q is not an address of this machine alone", address)
	}
	return nil
}

// loopback takes localhost and addresses; other names can mean anything tomorrow.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Serve begins to listen and returns at once. Close must be called.
func (e *Exporter) Serve(ctx context.Context, address, workflow string) (*Server, error) {
	return serve(ctx, address, e.Handler(workflow))
}

func serve(ctx context.Context, address string, handler http.Handler) (*Server, error) {
	if err := CheckAddress(address); err != nil {
		return nil, err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, bridge.WithHint(fmt.Errorf("listen for metrics: %w", err), "another program has the address: choose another port for metrics.listen")
	}
	// localhost is what the machine says it is.
	if host, _, err := net.SplitHostPort(l.Addr().String()); err != nil || !loopback(host) {
		return nil, errors.Join(fmt.Errorf("%q leads to %s, which is not an address of this machine alone", address, l.Addr()), l.Close())
	}
	s := &Server{listener: l, ended: make(chan error, 1), http: &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}}
	go func() { s.ended <- s.http.Serve(l) }()
	return s, nil
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends the server at once.
func (s *Server) Close() error {
	err := s.http.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// Handler answers what a Server answers. A request that was sent to another host's name
// is refused: a page in a browser can make names lead here.
func (e *Exporter) Handler(workflow string) http.Handler {
	mux := newMux(e)
	mux.HandleFunc("GET /healthz", e.health)
	mux.HandleFunc("GET /readyz", e.ready)
	mux.HandleFunc("GET /progress", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// A client that went away is all that can fail here.
		if err := json.NewEncoder(w).Encode(e.Live(workflow)); err != nil {
			return
		}
	})
	return guarded(mux)
}

// newMux answers /metrics with what c, the runtime and the process say.
func newMux(c prometheus.Collector) *http.ServeMux {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// guarded refuses requests that were sent to another host's name.
func guarded(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !loopback(host) {
			http.Error(w, "only for this machine", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// healthTimeout is how long a process that is alive may take to say how far it is.
const healthTimeout = 5 * time.Second

// health fails only if a restart would help: services that do not answer are waited for.
func (e *Exporter) health(w http.ResponseWriter, r *http.Request) {
	said := make(chan struct{})
	go func() {
		e.progress()
		close(said)
	}()
	late := time.NewTimer(healthTimeout)
	defer late.Stop()
	select {
	case <-said:
		fmt.Fprintln(w, "ok")
	case <-late.C:
		http.Error(w, "the mirror does not say how far it is", http.StatusServiceUnavailable)
	case <-r.Context().Done():
	}
}

// ready says whether the mirror holds its task and knows where it goes on.
func (e *Exporter) ready(w http.ResponseWriter, _ *http.Request) {
	if e.progress().Source.IsZero() {
		http.Error(w, "starting: the checkpoint is not read yet, or the target is searched", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
