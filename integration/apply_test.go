//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/kinesis-msk-bridge/bridge/internal/dynamotest"
	"github.com/kinesis-msk-bridge/bridge/state"
	"github.com/kinesis-msk-bridge/bridge/state/dynamostate"
	"github.com/kinesis-msk-bridge/bridge/state/statetest"
)

// The program is killed inside apply at every write to the lease table, before or after it
// took effect. Apply then finishes what was begun, and undo brings back every byte.
func TestIntegrationKillsInApply(t *testing.T) {
	t.Parallel() // it mostly waits
	rows := numbered(t, 600)
	srv := newKinesis(t, noRates)
	topic := unique("killed")
	createTopic(t, bench.kafka.Brokers(), topic, 3)
	produce(t.Context(), t, bench.kafka.Brokers(), topic, rows, 3, 0)
	j := newJob(t, toKinesis, srv, unique("new"), topic)
	d, err := dynamotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m := &moving{t: t, j: j, app: unique("app"), group: unique("group")}
	j.more = fmt.Sprintf("dynamodb: {endpoint_url: \"%s\"}\nconsumers:\n- {name: billing, kcl_application: %s, group: %s}\n", d.URL(), m.app, m.group)
	j.catchUp("state")
	commitOffsets(t, j.brokers, m.group, topic, map[int32]int64{0: 50, 1: 60, 2: 70})
	kills, finished, undone := 0, 0, 0
	for _, took := range []bool{false, true} {
		for at := int64(1); ; at++ {
			plan := m.offsets(0, "plan").Result.Plan
			before := d.Items(m.app)
			var n atomic.Int64
			c := j.start("offsets", "apply", "--config", j.config("state"), "--plan", plan, "--still-for", "1s")
			d.SetHook(func(op string, body []byte) dynamotest.Fault {
				write := (op == "PutItem" || op == "CreateTable") && bytes.Contains(body, []byte(strconv.Quote(m.app)))
				if !write || n.Add(1) != at {
					return dynamotest.None
				}
				c.signal(syscall.SIGKILL)
				if took {
					return dynamotest.After
				}
				return dynamotest.Before
			})
			<-c.done
			d.SetHook(nil)
			if n.Load() < at {
				m.offsets(0, "undo", "--still-for", "1s")
				break // there is no such write: it came to its end
			}
			kills++
			if at%2 == 0 {
				m.offsets(0, "apply", "--plan", plan, "--still-for", "1s")
				finished++
			}
			if leases := strings.Count(d.Items(m.app), "leaseKey"); at%2 == 0 && leases != 4 {
				t.Errorf("killed at write %d and applied again: %d leases, want 4", at, leases)
			}
			m.offsets(0, "undo", "--still-for", "1s")
			undone++
			if now := d.Items(m.app); now != before {
				t.Errorf("killed at write %d and undone: the table is\n%swant\n%s", at, now, before)
			}
		}
	}
	t.Logf("figures: kill -9 inside apply, kafka to kinesis: %d kills at every write, %d finished, %d undone; lost 0", kills, finished, undone)
	if kills < 8 || finished < 4 {
		t.Error("apply was killed too seldom")
	}
}

// A remote is where statetest keeps stores: a table of DynamoDB Local for each backend.
type remote struct {
	api   *dynamodb.Client
	table string
}

func (r *remote) Open(_ *testing.T, workflow string) state.Store {
	return dynamostate.New(dynamostate.Config{
		API: func(context.Context) (*dynamodb.Client, error) { return r.api, nil }, Table: r.table, Workflow: workflow,
	})
}

func (r *remote) Overwrite(t *testing.T, workflow string, raw []byte) {
	t.Helper()
	put := func() error {
		_, err := r.api.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &r.table, Item: map[string]types.AttributeValue{
			"id":   &types.AttributeValueMemberS{Value: "workflow/" + url.PathEscape(workflow)},
			"body": &types.AttributeValueMemberB{Value: raw},
		}})
		return err
	}
	err := put()
	if missing := (*types.ResourceNotFoundException)(nil); errors.As(err, &missing) {
		// The first lock makes the table.
		release, lockErr := r.Open(t, "nobody").Lock(t.Context())
		if lockErr != nil {
			t.Fatal(lockErr)
		}
		if err := release(); err != nil {
			t.Fatal(err)
		}
		err = put()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Workflow state on a DynamoDB that is not the module's own.
func TestIntegrationStateInDynamoDB(t *testing.T) {
	t.Parallel() // it mostly waits
	d := sharedDynamoDB(t)
	api := dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(d.URL()), Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	statetest.Run(t, func(*testing.T) statetest.Backend { return &remote{api: api, table: unique("state")} })
}
