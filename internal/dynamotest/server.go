package dynamotest

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// An Item is an item in DynamoDB's JSON: attribute name to {"S": "text"} and so on.
type Item map[string]map[string]any

// A Fault says what becomes of one call.
type Fault int

// The faults that a hook can ask for.
const (
	None   Fault = iota
	Before       // it fails with a server error and has no effect
	After        // it has its effect, and then the connection is cut
	Denied       // the principal may not
)

// A Server is one account in one region. Its methods are safe for concurrent use.
type Server struct {
	// Page is how many items a Scan returns at most; 7 if zero.
	Page int

	url  string
	http *http.Server

	mu     sync.Mutex
	hook   func(op string, body []byte) Fault
	tables map[string]*table
	writes int
}

type table struct {
	key   string // name of the hash key
	items map[string]Item
}

// Start listens on a free port of this machine.
func Start() (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{url: "http://" + l.Addr().String(), tables: map[string]*table{}}
	s.http = &http.Server{Handler: s}
	go s.http.Serve(l)
	return s, nil
}

// URL is where the server listens.
func (s *Server) URL() string { return s.url }

// Close ends it.
func (s *Server) Close() error { return s.http.Close() }

// SetHook has fn asked before each call from now on what is to become of it; nil is
// nothing. It is called under no lock.
func (s *Server) SetHook(fn func(op string, body []byte) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = fn
}

// Update changes every item of a table, as another client would.
func (s *Server) Update(name string, fn func(Item)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[name]; t != nil {
		for k, it := range t.items {
			next := maps.Clone(it)
			fn(next)
			t.items[k] = next
		}
	}
}

// Writes is how many calls changed an item since the start.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Create makes a table with one hash key.
func (s *Server) Create(name, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[name] = &table{key: key, items: map[string]Item{}}
}

// Put stores an item given as JSON, as another client would.
func (s *Server) Put(name string, text string) error {
	var it Item
	if err := json.Unmarshal([]byte(text), &it); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		return fmt.Errorf("no table %s", name)
	}
	t.items[keyOf(it[t.key])] = it
	return nil
}

// Items returns the table as JSON with sorted keys, one item a line, and "" if there is
// no such table. Equal numbers are written alike.
func (s *Server) Items(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		return ""
	}
	var b strings.Builder
	for _, k := range sorted(t.items) {
		line, _ := json.Marshal(normal(t.items[k]))
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// An apiError is an answer that refuses.
type apiError struct {
	status     int
	code, text string
}

func (e *apiError) Error() string { return e.code + ": " + e.text }

func invalid(format string, args ...any) error {
	return &apiError{http.StatusBadRequest, "com.amazon.coral.validate#ValidationException", fmt.Sprintf(format, args...)}
}

func notFound(name string) error {
	return &apiError{http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "Requested resource not found: " + name}
}

// ServeHTTP answers one call of the JSON 1.0 protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	op := r.Header.Get("X-Amz-Target")
	op = op[strings.LastIndexByte(op, '.')+1:]
	fault := None
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		fault = hook(op, body)
	}
	if r.Header.Get("Authorization") == "" {
		fault = Denied
	}
	var out any
	switch fault {
	case Before:
		err = &apiError{http.StatusInternalServerError, "com.amazonaws.dynamodb.v20120810#InternalServerError", "try again"}
	case Denied:
		err = &apiError{http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#AccessDeniedException", "not authorized to perform " + op}
	default:
		out, err = s.call(op, body)
	}
	if fault == After {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
		return
	}
	status := http.StatusOK
	if e := (*apiError)(nil); errors.As(err, &e) {
		status, out = e.status, map[string]string{"__type": e.code, "message": e.text}
	} else if err != nil {
		status = http.StatusInternalServerError
	}
	answer, err := json.Marshal(out)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(answer)), 10))
	w.WriteHeader(status)
	w.Write(answer)
}

func (s *Server) call(op string, body []byte) (any, error) {
	var in request
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, invalid("%s: %v", op, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if op == "CreateTable" {
		return s.createTable(in)
	}
	t := s.tables[in.TableName]
	if t == nil {
		return nil, notFound(in.TableName)
	}
	switch op {
	case "DescribeTable":
		return map[string]any{"Table": s.describe(in.TableName, t)}, nil
	case "DeleteTable":
		delete(s.tables, in.TableName)
		return map[string]any{"TableDescription": s.describe(in.TableName, t)}, nil
	case "Scan":
		return s.scan(t, in)
	case "GetItem":
		return t.get(in)
	case "PutItem", "DeleteItem", "UpdateItem":
		s.writes++
		return t.change(op, in)
	}
	return nil, &apiError{http.StatusBadRequest, "com.amazon.coral.service#UnknownOperationException", op}
}

func (s *Server) createTable(in request) (any, error) {
	if s.tables[in.TableName] != nil {
		return nil, &apiError{http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#ResourceInUseException", "Table already exists: " + in.TableName}
	}
	if len(in.KeySchema) != 1 || in.KeySchema[0].KeyType != "HASH" || in.BillingMode != "PAY_PER_REQUEST" {
		return nil, invalid("only on-demand tables with one hash key are known")
	}
	t := &table{key: in.KeySchema[0].AttributeName, items: map[string]Item{}}
	s.tables[in.TableName] = t
	return map[string]any{"TableDescription": s.describe(in.TableName, t)}, nil
}

func (s *Server) describe(name string, t *table) any {
	return map[string]any{
		"TableName": name, "TableStatus": "ACTIVE", "ItemCount": 0, // the service updates it every six hours
		"KeySchema":            []map[string]string{{"AttributeName": t.key, "KeyType": "HASH"}},
		"AttributeDefinitions": []map[string]string{{"AttributeName": t.key, "AttributeType": "S"}},
	}
}
