package kinesisstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/kinesis-msk-bridge/bridge"
	"github.com/kinesis-msk-bridge/bridge/internal/awsapi"
	"github.com/kinesis-msk-bridge/bridge/internal/clock"
)

// A Config says which stream, where, and as whom. Stream or StreamARN is needed; the rest
// of the zero Config is what the AWS configuration of the machine says.
type Config struct {
	Stream    string // name
	StreamARN string // instead of Stream
	Region    string
	Profile   string
	// EndpointURL replaces the endpoint of the region.
	EndpointURL string
	// RoleARN is assumed with the credentials that were found.
	RoleARN string
	// Credentials replace the chain of the SDK, in tests.
	Credentials aws.CredentialsProvider
	// Timeout bounds one call, 20 s if zero.
	Timeout time.Duration
	// Codec decodes records on the wire and encodes them; CodecJSON if empty.
	Codec Codec
	// HTTP carries the calls instead of a client of the SDK, in tests.
	HTTP aws.HTTPClient
}

// A Client is one stream. It is safe for concurrent use.
type Client struct {
	api    *kinesis.Client
	conf   Config
	region string

	host atomic.Value // string; that the last call went to

	mu     sync.Mutex
	info   Info
	shards map[string]types.Shard
	clock  clock.Clock // by the last answer
}

// An Info is what the service says of a stream.
type Info struct {
	ARN           string
	Created       time.Time
	Retention     time.Duration
	OpenShards    int
	OnDemand      bool
	MaxRecordSize int // bytes of key and data
	// Auto says that the service places records as it likes: there is no key order to keep.
	Auto bool
}

const defaultTimeout = 20 * time.Second

// Dial looks the stream up. It wraps ErrMissing if there is none, ErrDenied if the service
// refuses, and ErrUnreachable if nobody answers; with Create nothing but the last two.
func Dial(ctx context.Context, c Config) (*Client, error) {
	k, err := connect(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := k.first(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// first is the first call. If the clock of this machine is wrong, the service refuses it,
// and takes the second one.
func (c *Client) first(ctx context.Context) error {
	_, err := c.Describe(ctx)
	if awsapi.Skewed(err) {
		_, err = c.Describe(ctx)
	}
	return err
}

func connect(ctx context.Context, c Config) (*Client, error) {
	// Calls end by call. This bounds what else is asked for, such as credentials.
	limit := cmpOr(c.Timeout, defaultTimeout) + time.Second
	conf, err := awsapi.Load(ctx, awsapi.Config{
		Region: c.Region, Profile: c.Profile, RoleARN: c.RoleARN, Credentials: c.Credentials, Timeout: limit,
	})
	if err != nil {
		return nil, err
	}
	if conf.Region == "" {
		return nil, bridge.WithHint(fmt.Errorf("no AWS region is set: %w", bridge.ErrRefused), "set kinesis.region, --region or AWS_REGION")
	}
	// The engine retries, and must see each failure: order depends on it.
	conf.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	k := &Client{conf: c, region: conf.Region, shards: map[string]types.Shard{}}
	var plugged error
	k.api = kinesis.NewFromConfig(conf, func(o *kinesis.Options) {
		plugged = c.Codec.Plug(o)
		carrier := c.HTTP
		if carrier == nil {
			carrier = conf.HTTPClient
		}
		o.HTTPClient = &client{HTTPClient: carrier, host: &k.host}
		if c.EndpointURL != "" {
			o.BaseEndpoint = &c.EndpointURL
		}
	})
	return k, plugged
}

// call is one call of the service, which ends after Config.Timeout whatever the service does:
// who waits for an answer can then say so, and try again.
func call[I, O any](ctx context.Context, c *Client, op func(context.Context, I, ...func(*kinesis.Options)) (O, error), in I) (O, error) {
	limit := cmpOr(c.conf.Timeout, defaultTimeout)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	out, err := op(limited, in)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &classified{fmt.Errorf("no answer within %s", limit), bridge.ErrTransient}
	}
	return out, err
}

// clockOf is the service's clock when it answered, to a second; zero if it did not say.
func clockOf(answer middleware.Metadata) time.Time {
	theirs, _ := awsmiddleware.GetServerTime(answer)
	return theirs
}

// client hides from net/http that the SDK's request bodies can write themselves: with an
// endpoint that answers within about 100 µs, net/http would find such a body closed while
// it still looks for its end, and drop the connection.
type client struct {
	aws.HTTPClient
	host *atomic.Value // the host of the last call
}

func (c *client) Do(r *http.Request) (*http.Response, error) {
	c.host.Store(r.URL.Host)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.HTTPClient.Do(r)
}

func cmpOr[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func containsAny(s string, subs ...string) bool {
	return slices.ContainsFunc(subs, func(sub string) bool { return strings.Contains(s, sub) })
}

func (c *Client) name() string { return cmpOr(c.conf.Stream, c.conf.StreamARN) }

func (c *Client) where() string {
	if c.conf.EndpointURL != "" {
		return c.conf.EndpointURL + ", region " + c.region
	}
	return "region " + c.region
}

func (c *Client) ids() (name, arn *string) {
	if c.conf.StreamARN != "" {
		return nil, &c.conf.StreamARN
	}
	return &c.conf.Stream, nil
}

// Describe asks the service about the stream.
func (c *Client) Describe(ctx context.Context) (Info, error) {
	info, _, err := c.DescribeWithClock(ctx)
	return info, err
}

// DescribeWithClock says besides how far this machine's clock is ahead of the service's,
// to about a second; 0 if the service did not say its time.
func (c *Client) DescribeWithClock(ctx context.Context) (Info, time.Duration, error) {
	name, arn := c.ids()
	out, err := call(ctx, c, c.api.DescribeStreamSummary, &kinesis.DescribeStreamSummaryInput{StreamName: name, StreamARN: arn})
	if err != nil {
		return Info{}, 0, c.classify("DescribeStreamSummary", err)
	}
	ahead := time.Duration(0)
	if theirs := clockOf(out.ResultMetadata); !theirs.IsZero() {
		ahead = time.Since(theirs)
		c.hears(theirs)
	}
	info, err := c.describe(out)
	return info, ahead, err
}

// hears notes what the service's clock says now.
func (c *Client) hears(theirs time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.Note(time.Now(), theirs)
}

// theirs is the service's time, to about a second, when this machine's clock showed t. The
// service starts a reader at a time by its own clock, from which this machine's may differ.
func (c *Client) theirs(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, _ = c.clock.At(t)
	return t
}

func (c *Client) describe(out *kinesis.DescribeStreamSummaryOutput) (Info, error) {
	d := out.StreamDescriptionSummary
	if d == nil || d.StreamARN == nil || d.StreamCreationTimestamp == nil {
		return Info{}, fmt.Errorf("describe stream %s: the answer names no stream: %w", c.name(), bridge.ErrTransient)
	}
	if d.StreamStatus == types.StreamStatusDeleting {
		return Info{}, fmt.Errorf("stream %s is being deleted: %w", c.name(), bridge.ErrMissing)
	}
	info := Info{
		ARN:           *d.StreamARN,
		Created:       *d.StreamCreationTimestamp,
		Retention:     time.Duration(aws.ToInt32(d.RetentionPeriodHours)) * time.Hour,
		OpenShards:    int(aws.ToInt32(d.OpenShardCount)),
		OnDemand:      d.StreamModeDetails != nil && d.StreamModeDetails.StreamMode == types.StreamModeOnDemand,
		MaxRecordSize: cmpOr(int(aws.ToInt32(d.MaxRecordSizeInKiB)), 1024) << 10,
		Auto:          d.RecordDistributionStrategy == types.RecordDistributionStrategyAuto,
	}
	c.mu.Lock()
	c.info = info
	c.mu.Unlock()
	return info, nil
}

// Host is the one that the last call went to, whatever the configuration says; empty before
// the first.
func (c *Client) Host() string {
	host, _ := c.host.Load().(string)
	return host
}

// Info is the answer to the last Describe.
func (c *Client) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

// Identity is "kinesis:" and the ARN; its incarnation is the creation time.
func (c *Client) Identity(ctx context.Context) (bridge.Identity, error) {
	info, err := c.Describe(ctx)
	if err != nil {
		return bridge.Identity{}, err
	}
	return bridge.Identity{Name: "kinesis:" + info.ARN, Incarnation: strconv.FormatInt(info.Created.UnixMilli(), 10)}, nil
}

// Partitions lists the shards that have not expired, parents before their children.
func (c *Client) Partitions(ctx context.Context) ([]bridge.Partition, error) {
	name, arn := c.ids()
	var all []types.Shard
	var token *string
	for {
		in := &kinesis.ListShardsInput{StreamName: name, StreamARN: arn}
		if token != nil {
			in = &kinesis.ListShardsInput{NextToken: token}
		}
		out, err := call(ctx, c, c.api.ListShards, in)
		if err != nil {
			return nil, c.classify("ListShards", err)
		}
		all = append(all, out.Shards...)
		if token = out.NextToken; token == nil {
			break
		}
	}
	c.mu.Lock()
	for _, s := range all {
		c.shards[aws.ToString(s.ShardId)] = s
	}
	c.mu.Unlock()
	return parentsFirst(all), nil
}

func parentsFirst(all []types.Shard) []bridge.Partition {
	byID := make(map[string]types.Shard, len(all))
	for _, s := range all {
		byID[aws.ToString(s.ShardId)] = s
	}
	var out []bridge.Partition
	seen := map[string]bool{}
	var add func(id string)
	add = func(id string) {
		s, listed := byID[id]
		if !listed || seen[id] {
			return
		}
		seen[id] = true
		p := bridge.Partition{ID: id}
		for _, parent := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
			if parent != nil {
				add(*parent)
				p.Parents = append(p.Parents, *parent)
			}
		}
		if r := s.HashKeyRange; r != nil {
			p.FirstHash, p.LastHash = aws.ToString(r.StartingHashKey), aws.ToString(r.EndingHashKey)
		}
		if r := s.SequenceNumberRange; r != nil {
			p.From.Seq, p.To.Seq, p.Closed = aws.ToString(r.StartingSequenceNumber), aws.ToString(r.EndingSequenceNumber), r.EndingSequenceNumber != nil
		}
		out = append(out, p)
	}
	for _, s := range all {
		add(aws.ToString(s.ShardId))
	}
	return out
}

// A Create says what stream to make if there is none.
type Create struct {
	OnDemand      bool
	Shards        int           // if not OnDemand; 1 if zero
	Retention     time.Duration // whole hours; the service's 24 h if zero
	MaxRecordSize int           // bytes, whole KiB; the service's 1 MiB if zero
	KMSKey        string        // encrypts with this key; not encrypted if empty
}

// DialOrCreate is Dial, but makes the stream if there is none, and returns when it is
// active. A stream that exists is never changed.
func DialOrCreate(ctx context.Context, c Config, create Create) (*Client, bool, error) {
	k, err := connect(ctx, c)
	if err != nil {
		return nil, false, err
	}
	if err = k.first(ctx); !errors.Is(err, bridge.ErrMissing) || c.Stream == "" {
		return k, false, err
	}
	in := &kinesis.CreateStreamInput{StreamName: &c.Stream, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}
	if !create.OnDemand {
		in.StreamModeDetails.StreamMode = types.StreamModeProvisioned
		in.ShardCount = aws.Int32(int32(max(create.Shards, 1)))
	}
	if create.MaxRecordSize > 0 {
		in.MaxRecordSizeInKiB = aws.Int32(int32(create.MaxRecordSize >> 10))
	}
	if _, err := call(ctx, k, k.api.CreateStream, in); err != nil && !isCode(err, "ResourceInUseException") {
		return nil, false, k.classify("CreateStream", err)
	}
	if err := k.awaitActive(ctx); err != nil {
		return nil, false, err
	}
	return k, true, k.finish(ctx, create)
}

// finish sets what cannot be said at creation.
func (c *Client) finish(ctx context.Context, create Create) error {
	name := &c.conf.Stream
	if h := int32(create.Retention / time.Hour); h > 24 {
		_, err := call(ctx, c, c.api.IncreaseStreamRetentionPeriod, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: &h})
		if err != nil {
			return c.classify("IncreaseStreamRetentionPeriod", err)
		}
		if err := c.awaitActive(ctx); err != nil {
			return err
		}
	}
	if create.KMSKey != "" {
		_, err := call(ctx, c, c.api.StartStreamEncryption, &kinesis.StartStreamEncryptionInput{StreamName: name, EncryptionType: types.EncryptionTypeKms, KeyId: &create.KMSKey})
		if err != nil {
			return c.classify("StartStreamEncryption", err)
		}
		if err := c.awaitActive(ctx); err != nil {
			return err
		}
	}
	_, err := c.Describe(ctx)
	return err
}

func (c *Client) awaitActive(ctx context.Context) error {
	for {
		out, err := call(ctx, c, c.api.DescribeStreamSummary, &kinesis.DescribeStreamSummaryInput{StreamName: &c.conf.Stream})
		if err != nil && !bridge.Retryable(c.classify("DescribeStreamSummary", err)) {
			return c.classify("DescribeStreamSummary", err)
		}
		if err == nil && out.StreamDescriptionSummary != nil && out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive {
			_, err := c.Describe(ctx)
			return err
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return fmt.Errorf("wait for stream %s to become active: %w", c.conf.Stream, err)
		}
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
