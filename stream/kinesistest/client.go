package kinesistest

import (
	"io"
	"net/http"
)

// HTTPClient returns a client of its own connection pool to give to an AWS SDK for Go that
// talks to a server of this package. It avoids a race that only a server on the same
// machine is fast enough to meet: see the package documentation.
func (s *Server) HTTPClient() *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 64}
	return &http.Client{Transport: HideWriterTo(t)}
}

// HideWriterTo returns a transport that sends request bodies without their WriteTo method,
// and is otherwise the given one.
func HideWriterTo(next http.RoundTripper) http.RoundTripper { return hideWriterTo{next} }

type hideWriterTo struct{ next http.RoundTripper }

// RoundTrip sends a copy of the request whose body can only be read and closed.
func (h hideWriterTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return h.next.RoundTrip(r)
	}
	c := *r
	c.Body = struct{ io.ReadCloser }{r.Body}
	return h.next.RoundTrip(&c)
}

// CloseIdleConnections lets http.Client close what is idle.
func (h hideWriterTo) CloseIdleConnections() {
	if c, ok := h.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
