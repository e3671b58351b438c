package main

import (
	"cmp"

	"github.com/kinesis-msk-bridge/bridge/stream/kafkastream"
	"github.com/kinesis-msk-bridge/bridge/stream/kinesisstream"
)

// A config is the configuration file. Its tags are the one place that says what a setting
// is called (json), what it means (jsonschema), its default, which values it takes (enum)
// and which of them, known from the documentation, this version refuses (later); decoder,
// environment, `config show` and JSON Schema are all made from them.
type config struct {
	Workflow           string        `json:"workflow" jsonschema:"name of the workflow: letters, digits, - and _; the names of its own topics begin with it"`
	Direction          string        `json:"direction" enum:"kinesis-to-kafka,kafka-to-kinesis" jsonschema:"where records come from and go to"`
	Kinesis            kinesisConfig `json:"kinesis" jsonschema:"the Kinesis data stream"`
	Kafka              kafkaConfig   `json:"kafka" jsonschema:"the Kafka topic"`
	Keymap             string        `json:"keymap,omitempty" default:"murmur2" enum:"murmur2,crc32,fnv1a,hash-range,field,table,shard" parameters:"field=pointer then,table=file then" jsonschema:"which partition of the topic a key goes to: as the Java client (murmur2), librdkafka (crc32) or sarama (fnv1a) would place it, by equal ranges of its MD5 (hash-range), by a key from the value ({name: field, pointer: /id, then: murmur2}), as a CSV file says ({name: table, file: keys.csv, then: murmur2}), or one partition a shard"`
	Delivery           string        `json:"delivery,omitempty" default:"effectively-once" enum:"effectively-once" later:"exactly-once" jsonschema:"what a restart promises"`
	Start              string        `json:"start,omitempty" jsonschema:"where the first start begins: trim-horizon (kinesis-to-kafka) or earliest (kafka-to-kinesis) for everything there is, latest, or a time such as 2026-01-31T00:00:00Z"`
	State              string        `json:"state,omitempty" default:"file:.bridge" jsonschema:"where the workflow's state is kept: file: and a directory, or dynamodb: and a table"`
	DynamoDB           dynamoConfig  `json:"dynamodb,omitzero" jsonschema:"where lease tables, and state: dynamodb:, are"`
	Consumers          consumers     `json:"consumers,omitempty" jsonschema:"applications that consume the stream or topic; each is moved on its own"`
	DeadLetters        string        `json:"dead_letters,omitempty" jsonschema:"where records go that the policy does not stop at: topic:NAME, stream:NAME, s3:BUCKET/PREFIX or file:PATH; by default the topic with .DLQ behind its name"`
	Policy             policyConfig  `json:"policy,omitzero" jsonschema:"what happens to records that the target cannot take"`
	AcceptLoss         []string      `json:"accept_loss,omitempty" enum:"timestamp,headers,tombstones" jsonschema:"what may be lost because the format cannot carry it; kafka-to-kinesis in raw always loses the timestamp"`
	CheckpointInterval duration      `json:"checkpoint_interval,omitempty" default:"5s" min:"10ms" max:"10m" jsonschema:"how often progress is made durable while records move"`
	PutTimeout         duration      `json:"put_timeout,omitempty" default:"10s" min:"100ms" max:"5m" jsonschema:"how long one write to Kinesis may take, and how long a start waits after an unclean stop before it writes"`
	SessionTimeout     duration      `json:"session_timeout,omitempty" default:"60s" min:"1s" max:"1h" jsonschema:"a mirror that stood still for longer than this gives its task up"`
	StartPatience      duration      `json:"start_patience,omitempty" default:"2m" min:"10ms" max:"1h" hash:"-" jsonschema:"how long a start waits for a service that does not answer, or asks for less, before it ends with exit code 4"`
	Memory             size          `json:"memory,omitempty" default:"1GiB" min:"16MiB" max:"1024GiB" jsonschema:"what the program may take; half of it is for records, and with less than 32 MiB a partition fewer of them are read at once"`
	Tasks              int           `json:"tasks,omitempty" default:"1" min:"1" max:"1" later:">1" jsonschema:"slices of the work"`
	Verify             verifyConfig  `json:"verify,omitzero" jsonschema:"how verify compares"`
	Metrics            metricsConfig `json:"metrics,omitzero" jsonschema:"what a running mirror shows of itself on this machine"`
	NullKeys           string        `json:"null_keys,omitempty" default:"spread" enum:"spread,partition-order" jsonschema:"kafka-to-kinesis: null keys carry no order (spread) or keep that of their partition (partition-order)"`
}

type kinesisConfig struct {
	Stream      string       `json:"stream,omitempty" jsonschema:"name of the stream; this or stream_arn"`
	StreamARN   string       `json:"stream_arn,omitempty" jsonschema:"ARN of the stream; this or stream"`
	Region      string       `json:"region,omitempty" jsonschema:"AWS region; by default that of stream_arn, of the profile or of the environment"`
	EndpointURL string       `json:"endpoint_url,omitempty" jsonschema:"another address of the service, such as an emulator's; shown in status"`
	Profile     string       `json:"profile,omitempty" jsonschema:"profile of the shared AWS configuration files"`
	RoleARN     string       `json:"role_arn,omitempty" jsonschema:"role to assume for Kinesis and MSK"`
	Read        string       `json:"read,omitempty" default:"polling" enum:"polling" later:"fan-out" jsonschema:"how the stream is read"`
	Codec       string       `json:"codec,omitempty" default:"json" enum:"json,cbor,sdk" jsonschema:"how records travel: json and cbor by bridge's own code, sdk by the SDK's"`
	Aggregation string       `json:"aggregation,omitempty" default:"kcl" enum:"kcl,keep-in-range,keep-all,opaque" jsonschema:"which user records of aggregated (KPL) records are delivered: those that the KCL delivers, those whose keys are in the shard's range, all, or the aggregates as they are"`
	Format      string       `json:"format,omitempty" enum:"raw,kpl,envelope" jsonschema:"how records stand in the stream: one Kinesis record each (raw), aggregated as by the KPL (kpl), or several with all that Kafka records have (envelope); required for kafka-to-kinesis, without a default"`
	Aggregate   string       `json:"aggregate,omitempty" default:"key" enum:"key,shard" jsonschema:"format kpl: whether an aggregate holds records of one key, which is right for every reader, or of any keys of one shard (shard), which is only for applications built on the KCL: others read records again that a reshard put into another shard"`
	WrittenBy   string       `json:"written_by,omitempty" default:"producers" enum:"producers,bridge" jsonschema:"kinesis-to-kafka: whether producers of their own write the stream, or a bridge does, whose partition keys, headers, null values and times are then turned back into what they were"`
	Create      createConfig `json:"create,omitzero" jsonschema:"kafka-to-kinesis: how the stream is created if it does not exist"`
}

// writes is how the mirror packs what it writes.
func (k *kinesisConfig) writes() kinesisstream.Format {
	if k.Aggregate == aggregateShard {
		return kinesisstream.KPLShard
	}
	return kinesisstream.Format(k.Format)
}

// aggregateShard is the value of kinesis.aggregate for many keys in one aggregate.
const aggregateShard = "shard"

type createConfig struct {
	Mode          string   `json:"mode,omitempty" default:"on-demand" enum:"on-demand,provisioned" jsonschema:"capacity mode"`
	Shards        int      `json:"shards,omitempty" min:"1" max:"20000" jsonschema:"number of shards; required for provisioned"`
	Retention     duration `json:"retention,omitempty" default:"24h" min:"24h" max:"8760h" jsonschema:"how long records are kept, in whole hours"`
	MaxRecordSize size     `json:"max_record_size,omitempty" default:"1MiB" min:"1MiB" max:"10MiB" jsonschema:"largest record that the stream takes"`
	KMSKey        string   `json:"kms_key,omitempty" jsonschema:"key for encryption at rest, such as alias/aws/kinesis"`
}

type kafkaConfig struct {
	Brokers           []string       `json:"brokers,omitempty" jsonschema:"addresses, each host:port; this, msk_cluster_arn or client_properties"`
	MSKClusterARN     string         `json:"msk_cluster_arn,omitempty" jsonschema:"MSK cluster whose brokers are looked up"`
	ClientProperties  string         `json:"client_properties,omitempty" jsonschema:"a Java client.properties file with addresses and security settings; takes the place of security"`
	Topic             string         `json:"topic" jsonschema:"name of the topic"`
	Partitions        int            `json:"partitions,omitempty" min:"1" max:"200000" jsonschema:"number of partitions; needed if the topic is to be created, checked if it exists"`
	ReplicationFactor int            `json:"replication_factor,omitempty" default:"3" min:"1" max:"32" jsonschema:"of topics that are created; 1 only for a laptop"`
	MinInsyncReplicas int            `json:"min_insync_replicas,omitempty" min:"1" max:"32" jsonschema:"of topics that are created; by default 2, or 1 if replication_factor is 1"`
	Compression       string         `json:"compression,omitempty" default:"none" enum:"none,lz4,zstd" jsonschema:"compression of what is written into Kafka"`
	Security          securityConfig `json:"security,omitzero" jsonschema:"how to reach the brokers"`
}

type securityConfig struct {
	Protocol       string             `json:"protocol,omitempty" default:"none" enum:"none,tls,sasl_plain,sasl_scram_sha_256,sasl_scram_sha_512,msk_iam" jsonschema:"none is plain text without authentication; the others use TLS"`
	CAFile         string             `json:"ca_file,omitempty" jsonschema:"PEM file of the authorities to trust; by default the system's"`
	CertFile       string             `json:"cert_file,omitempty" jsonschema:"PEM file of the client's certificate"`
	KeyFile        string             `json:"key_file,omitempty" jsonschema:"PEM file of the client's private key"`
	ServerName     string             `json:"server_name,omitempty" jsonschema:"name to expect in the broker's certificate, if it is not the host's"`
	Username       string             `json:"username,omitempty" jsonschema:"for the sasl_ protocols"`
	Password       kafkastream.Secret `json:"password,omitempty" jsonschema:"for the sasl_ protocols; only as ${env:NAME} or ${file:PATH}"`
	AllowPlaintext bool               `json:"allow_plaintext,omitempty" jsonschema:"the sasl_ protocols without TLS: only for tests on one machine"`
}

type dynamoConfig struct {
	Region      string `json:"region,omitempty" jsonschema:"AWS region; by default that of the stream"`
	EndpointURL string `json:"endpoint_url,omitempty" jsonschema:"another address of the service, such as an emulator's"`
}

// consumers are the applications that are moved, in the order of the file.
type consumers []consumerConfig

type consumerConfig struct {
	Name           string `json:"name" jsonschema:"what bridge calls the application"`
	KCLApplication string `json:"kcl_application,omitempty" jsonschema:"name of the application on Kinesis, and of its lease table"`
	LeaseTable     string `json:"lease_table,omitempty" jsonschema:"name of the lease table, if it is another"`
	Dialect        string `json:"dialect,omitempty" default:"kcl" enum:"kcl,vmware-go-kcl" jsonschema:"the library that keeps the lease table"`
	Group          string `json:"group" jsonschema:"its consumer group on Kafka"`
}

// table is the name of the lease table.
func (c consumerConfig) table() string { return cmp.Or(c.LeaseTable, c.KCLApplication) }

type policyConfig struct {
	Oversize    string `json:"oversize,omitempty" default:"stop" enum:"stop,dead-letter" jsonschema:"records larger than the target takes"`
	Undecodable string `json:"undecodable,omitempty" default:"stop" enum:"stop,dead-letter" jsonschema:"records that are not what their format says"`
	Unmappable  string `json:"unmappable,omitempty" default:"stop" enum:"stop,dead-letter" jsonschema:"records that the target's format cannot express"`
}

type verifyConfig struct {
	Settle    duration `json:"settle,omitempty" default:"60s" min:"10ms" max:"24h" jsonschema:"how long a difference must last before it is reported"`
	Window    duration `json:"window,omitempty" default:"15m" min:"100ms" max:"24h" jsonschema:"longest time that one window of records covers"`
	ReadShare share    `json:"read_share,omitempty" default:"0.5" min:"0.01" max:"1" jsonschema:"part of each shard's read limit that verify may use; consumers share the rest"`
}

type metricsConfig struct {
	Listen string `json:"listen,omitempty" jsonschema:"address of this machine, such as 127.0.0.1:9464, that answers /metrics (Prometheus), /healthz, /readyz and /progress, which status --watch asks; nothing listens without it"`
}

// The directions.
const (
	kinesisToKafka = "kinesis-to-kafka"
	kafkaToKinesis = "kafka-to-kinesis"
)

// stateDir is the directory that state names, if it names one.
func (c *config) stateDir() string {
	kind, dir, _ := cutPlace(c.State)
	if kind != "file" {
		return ""
	}
	return dir
}
