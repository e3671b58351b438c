// A consumer application on the Kinesis Client Library, 2.x or 3.x. It writes one line for
// each user record that it processes, checkpoints right behind it, and says "quiet" once it
// has processed what it is allowed of every shard that it can reach, or was idle for a while.
// It then renews its leases until its standard input ends.
//
//   java -cp 'jars/*' KclConsumer.java APP STREAM KINESIS DYNAMODB OUT IDLE-SECONDS [SHARD=LIMIT...] [all=N] [hex=1]
//
// A shard without a limit is read to its end. If it is told how many records there are for
// it in all, it is quiet soon behind the last of them. Lines are: shard, sequence number,
// sub-sequence number, and the value, or if hex is asked for the key, a colon and the value
// in hexadecimal.

import java.io.PrintWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import software.amazon.awssdk.auth.credentials.*;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.*;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.*;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.*;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public class KclConsumer {
  static final Map<String, Integer> limits = new HashMap<>();
  static final AtomicLong lastWork = new AtomicLong(System.nanoTime());
  static final AtomicBoolean began = new AtomicBoolean();
  static final Map<String, Integer> done = new ConcurrentHashMap<>(); // also of a lease that was lost and taken again
  static final AtomicInteger processed = new AtomicInteger();
  static PrintWriter out;

  static class Processor implements ShardRecordProcessor {
    String shard;

    public void initialize(InitializationInput in) {
      shard = in.shardId();
      begin();
    }

    public void processRecords(ProcessRecordsInput in) {
      try {
        for (KinesisClientRecord r : in.records()) {
          Integer limit = limits.get(shard);
          int before = done.getOrDefault(shard, 0);
          if (limit != null && before >= limit) return;
          byte[] value = new byte[r.data().remaining()];
          r.data().duplicate().get(value);
          synchronized (out) {
            out.println(shard + "\t" + r.sequenceNumber() + "\t" + r.subSequenceNumber() + "\t" + text(r.partitionKey(), value));
            out.flush();
          }
          done.put(shard, before + 1);
          processed.incrementAndGet();
          begin();
          if (limit != null && before + 1 == limit) in.checkpointer().checkpoint(r.sequenceNumber(), r.subSequenceNumber());
        }
        if (limits.get(shard) == null && !in.records().isEmpty()) {
          KinesisClientRecord r = in.records().get(in.records().size() - 1);
          in.checkpointer().checkpoint(r.sequenceNumber(), r.subSequenceNumber());
        }
      } catch (Exception e) {
        throw new RuntimeException(e);
      }
    }

    public void leaseLost(LeaseLostInput in) {}

    public void shardEnded(ShardEndedInput in) {
      try {
        Integer limit = limits.get(shard);
        if (limit != null && done.getOrDefault(shard, 0) >= limit) {
          new CountDownLatch(1).await(); // it never says that the shard is over
        }
        in.checkpointer().checkpoint();
        begin();
      } catch (Exception e) {
        throw new RuntimeException(e);
      }
    }

    public void shutdownRequested(ShutdownRequestedInput in) {}
  }

  static String text(String key, byte[] value) {
    if (!limits.containsKey("hex")) return new String(value, StandardCharsets.UTF_8);
    HexFormat hex = HexFormat.of();
    return hex.formatHex(key.getBytes(StandardCharsets.UTF_8)) + ":" + hex.formatHex(value);
  }

  static void begin() {
    began.set(true);
    lastWork.set(System.nanoTime());
  }

  public static void main(String[] a) throws Exception {
    String app = a[0], stream = a[1];
    out = new PrintWriter(a[4], StandardCharsets.UTF_8);
    long idle = Long.parseLong(a[5]);
    for (int i = 6; i < a.length; i++) {
      String[] kv = a[i].split("=");
      limits.put(kv[0], Integer.parseInt(kv[1]));
    }
    AwsCredentialsProvider who = StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
    Region region = Region.US_EAST_1;
    KinesisAsyncClient kinesis = KinesisAsyncClient.builder().region(region).credentialsProvider(who).endpointOverride(URI.create(a[2]))
        .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1)).build();
    DynamoDbAsyncClient dynamo = DynamoDbAsyncClient.builder().region(region).credentialsProvider(who).endpointOverride(URI.create(a[3])).build();
    CloudWatchAsyncClient cloudWatch = CloudWatchAsyncClient.builder().region(region).credentialsProvider(who).endpointOverride(URI.create(a[3])).build();
    ConfigsBuilder c = new ConfigsBuilder(stream, app, kinesis, dynamo, cloudWatch, UUID.randomUUID().toString(), Processor::new);
    var leases = c.leaseManagementConfig().failoverTimeMillis(3000).shardSyncIntervalMillis(1000).initialPositionInStream(
        InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON));
    withoutWorkerMetrics(leases);
    Scheduler scheduler = new Scheduler(c.checkpointConfig(), c.coordinatorConfig().parentShardPollIntervalMillis(500).shardConsumerDispatchPollIntervalMillis(200L),
        leases, c.lifecycleConfig(), c.metricsConfig().metricsFactory(new NullMetricsFactory()), c.processorConfig(),
        c.retrievalConfig().retrievalSpecificConfig(new PollingConfig(stream, kinesis).idleTimeBetweenReadsInMillis(200))
            .initialPositionInStreamExtended(InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON)));
    Thread t = new Thread(scheduler);
    t.setDaemon(true);
    t.start();
    long start = System.nanoTime();
    while (true) {
      Thread.sleep(100);
      long quiet = System.nanoTime() - lastWork.get();
      long patience = processed.get() >= limits.getOrDefault("all", Integer.MAX_VALUE) ? Math.min(idle, 3) : idle;
      if (began.get() && quiet > patience * 1_000_000_000L) break;
      if (System.nanoTime() - start > 180_000_000_000L) {
        System.err.println("it took no lease in 180 s");
        Runtime.getRuntime().halt(1);
      }
    }
    System.out.println("quiet");
    while (System.in.read() >= 0) {}
    out.close();
    Runtime.getRuntime().halt(0); // all that was processed is checkpointed
  }

  // withoutWorkerMetrics keeps 3.x, but not 2.x, from asking for the metrics of a machine
  // that is none of AWS's.
  static void withoutWorkerMetrics(Object leases) {
    try {
      Object u = leases.getClass().getMethod("workerUtilizationAwareAssignmentConfig").invoke(leases);
      u.getClass().getMethod("disableWorkerMetrics", boolean.class).invoke(u, true);
    } catch (ReflectiveOperationException e) {
      // 2.x has none
    }
  }
}
