package golden

import "strings"

// A Kind is a direction with a format.
type Kind struct {
	Name    string
	ToKafka bool
	kinesis string // what the configuration says of the stream beside its name
	more    string // further lines of the configuration
}

// Kinds are those that are recorded.
var Kinds = []Kind{
	{Name: "kinesis-to-kafka", ToKafka: true},
	{Name: "kafka-to-kinesis-raw", kinesis: ", format: raw", more: "accept_loss: [timestamp]\n"},
	{Name: "kafka-to-kinesis-kpl", kinesis: ", format: kpl"},
	{Name: "kafka-to-kinesis-envelope", kinesis: ", format: envelope"},
	{Name: "kafka-to-kinesis-aggregates", kinesis: ", format: kpl, aggregate: shard"},
}

// KindOf is the kind of a recording.
func KindOf(name string) Kind {
	for _, k := range Kinds {
		if strings.HasPrefix(name, k.Name) {
			return k
		}
	}
	return Kind{}
}

// Raw reports whether the stream holds the values as they are.
func (k Kind) Raw() bool { return strings.HasSuffix(k.Name, "-raw") }

// Config is the configuration of a recording, with names in the place of addresses.
func (k Kind) Config() string {
	direction, partitions, create := "kinesis-to-kafka", ", partitions: 4", ""
	if !k.ToKafka {
		direction, partitions, create = "kafka-to-kinesis", "", ", create: {mode: provisioned, shards: 3}"
	}
	return `workflow: orders
direction: ` + direction + `
kinesis: {stream: ` + Stream + `, region: us-east-1, endpoint_url: "$KINESIS"` + k.kinesis + create + `}
kafka: {brokers: ["$KAFKA"], topic: ` + Topic + partitions + `, replication_factor: 1}
dynamodb: {endpoint_url: "$DYNAMO"}
put_timeout: 1s
state: "file:$DIR/state"
consumers:
  - {name: ` + Consumer + `, kcl_application: ` + Table + `, group: ` + Consumer + `}
` + k.more
}

// Onward is the configuration of another workflow, that reads the stream which a recording
// wrote, and puts it into a topic of this name.
func (k Kind) Onward(topic string) string {
	return `workflow: onward
direction: kinesis-to-kafka
kinesis: {stream: ` + Stream + `, region: us-east-1, endpoint_url: "$KINESIS", written_by: bridge}
kafka: {brokers: ["$KAFKA"], topic: ` + topic + `, partitions: 4, replication_factor: 1}
state: "file:$DIR/onward"
`
}
